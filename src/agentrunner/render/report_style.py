"""The page around a report: its style, and the policy that forbids a browser to load or run anything."""

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c2024; --dim: #60646c; --paper: #fcfcfd; --line: #e0e1e6; --box: #f3f4f6;
  --good: #18794e; --bad: #c62a2f; --waiting: #915930; --bar: #3e63dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --dim: #b0b4ba; --paper: #111113; --line: #2e3135;
  --box: #1b1d20; --good: #3dd68c; --bad: #ff9592; --waiting: #ffca16; --bar: #8da4ef; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 52rem;
  margin: 2.5rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.3; white-space: pre-wrap; max-height: 14rem; overflow: auto; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
small, .note { color: var(--dim); font-weight: normal; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: normal; color: var(--dim); padding: .1rem 1.2rem .1rem 0; vertical-align: top; }
td, .answer { white-space: pre-wrap; }
.tasks td { vertical-align: top; padding: .1rem 1.2rem .4rem 0; }
.answer { background: var(--box); border-radius: 6px; padding: .8rem 1rem; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
summary { cursor: pointer; padding: .15rem 0; }
pre { background: var(--box); border-radius: 6px; padding: .6rem .8rem; margin: .4rem 0; overflow: auto;
  max-height: 28rem; white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
dl { margin: .2rem 0 .2rem 1rem; } dt { color: var(--dim); font-size: .9rem; } dd { margin: 0 0 .3rem; }
p { margin: .3rem 0; white-space: pre-wrap; } ol { margin: .2rem 0; padding-left: 1.5rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .waiting { color: var(--waiting); }
svg { width: 100%; max-width: 40rem; height: auto; display: block; } rect { fill: var(--bar); }
img { max-width: 100%; border-radius: 6px; margin-top: .4rem; background: white; }
@media print { pre { max-height: none; } }
</style>
</head>
<body>
$body
</body>
</html>
""")
