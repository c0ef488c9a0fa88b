import json
import runpy

if "frame" not in globals():  # a new interpreter, after the session was taken up again
    frame, about = runpy.run_path("read_table.py")["read_table"]()
report = {"missing": "", "duplicates": 0, "notes": "", "verdict": "There are no cells to check."}
if frame is not None and len(frame):
    empty = frame.isna().sum()
    worst = empty[empty > 0].sort_values(ascending=False)
    print(worst.head(10).to_string() if len(worst) else "no cell is empty")
    report["missing"] = ", ".join(f"{name[:30]} {count}" for name, count in worst.head(5).items()) or "none"
    report["duplicates"] = int(frame.duplicated().sum())
    report["notes"] = "; ".join(about["notes"][:6]) or "nothing had to be mended"
    report["verdict"] = (
        f"Empty cells: {report['missing']}. Repeated rows: {report['duplicates']}. While reading: {report['notes']}."
    )
print(json.dumps(report, ensure_ascii=False))
