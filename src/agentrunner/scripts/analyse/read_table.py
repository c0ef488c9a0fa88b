"""Reads the table of this analysis whatever its separator, encoding or number format, and says what each column is for.

`read_table()` gives (frame, about); the frame is None when there is no table, and about["problem"] says why.
"""

import csv
import io
import json
import re
from pathlib import Path

OWN = ("findings.json",)
TABLES = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet")
MISSING = ["?", "-", "--", "."]  # besides what pandas knows: empty, NA, NaN, null, None, n/a ...
MANY = 0.95  # a column of text is a column of numbers or dates when at least this share of it can be read so
DATES = ["ISO8601", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%d.%m.%y"]
DATES += ["%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y"]
DATES += [day + clock for day in DATES[1:5] for clock in (" %H:%M", " %H:%M:%S")]
LIKE_A_DATE = re.compile(
    r"\s*(\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([ T].*)?|\d{1,2}[ -]\w{3,9}[ -]\d{2,4}|\w{3,9} \d{1,2},? \d{4})\s*"
)
AN_ID = re.compile(r"(^|.*[_\W])(id|idx|index|key|row|uuid|nr|no)\W*$|.*[a-z]I[dD]$")
A_YEAR = re.compile(r"year|jahr|ann[eé]e|año|(^|_)(yr|anno|ano)($|_)", re.IGNORECASE)


def read_table():
    about = {"file": "", "notes": [], "problem": "", "roles": {}}
    wanted = Path("agent-notes.md").read_text(encoding="utf-8").rpartition("\nTable: ")[2].rstrip("\n")
    files = [Path(wanted)] if wanted else newest_tables()
    try:
        import pandas as pd
    except ImportError:
        about["problem"] = f"pandas is not installed here, so {files[0]} was not read" if files else "no table is here"
        return None, about
    for path in files:
        about.update(file=str(path), notes=[], problem="")
        try:
            raw = read_any(pd, path, about)
            frame = tidy(pd, raw, about)
        except Exception as error:  # whatever is wrong with a stranger's file, the answer is a sentence
            about["problem"] = f"{path} cannot be read as a table: {' '.join(str(error).split())[:200]}"
            continue
        if len(frame.columns):
            about["roles"] = roles(pd, frame)
            return frame, about
        about["problem"] = f"{path} holds no columns"
    about["problem"] = about["problem"] or "no table (csv, tsv, xlsx, json, parquet) is in the workspace"
    return None, about


def newest_tables():
    found = [p for p in Path().rglob("*") if p.suffix.lower() in TABLES and p.is_file() and p.name not in OWN]
    shown = [p for p in found if not any(part.startswith(".") for part in p.parts)]
    return sorted(shown, key=lambda path: path.stat().st_mtime, reverse=True)[:20]


def read_any(pd, path, about):
    kind = path.suffix.lower()
    if kind in (".xlsx", ".xlsm"):
        return pd.read_excel(path)
    if kind == ".parquet":
        return pd.read_parquet(path)
    text = decode(path.read_bytes(), about)
    if kind in (".json", ".jsonl", ".ndjson"):
        return from_json(pd, text)
    return from_text(pd, text, about)


def decode(raw, about):
    for encoding in ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252", "latin-1"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text[:4096]:
            break
        if encoding != "utf-8-sig":
            about["notes"].append(f"read as {encoding}")
        return text
    raise ValueError("it is not text")


def from_json(pd, text):
    try:
        data = json.loads(text)
    except ValueError:
        data = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        data = lists[0] if lists else data
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return pd.json_normalize(data)
    if isinstance(data, dict) and data and all(isinstance(value, (list, dict)) for value in data.values()):
        return pd.DataFrame(data)
    raise ValueError("this JSON is not a list of records")


def from_text(pd, text, about):
    if not text.strip():
        raise ValueError("it is empty")
    comma = about["separator"] = separator(text)
    first = next(csv.reader(io.StringIO(text.lstrip()), delimiter=comma or "\x1f"))
    headless = len(text.strip().splitlines()) > 1 and all(
        re.fullmatch(r"\s*-?\d+([.,]\d+)?\s*", cell) for cell in first
    )
    if headless:
        about["notes"].append("the first line holds numbers, so it was read as data")
    how = {"sep": comma or "\x1f", "na_values": MISSING, "skipinitialspace": True}
    how["header"] = None if headless else 0
    if not comma and not headless and Path(about["file"]).suffix.lower() not in TABLES:
        raise ValueError("it is text without columns")
    top = pd.read_csv(io.StringIO(text), nrows=2000, dtype=str, on_bad_lines="skip", **how)
    how["dtype"] = {name: str for name in top if like_codes(top[name].dropna())}
    try:
        frame = pd.read_csv(io.StringIO(text), low_memory=False, **how)
    except pd.errors.ParserError:
        about["notes"].append("lines with more fields than the header were left out")
        frame = pd.read_csv(io.StringIO(text), low_memory=False, on_bad_lines="skip", **how)
    if headless:
        frame.columns = [f"column_{number}" for number in range(1, len(first) + 1)]
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def separator(text):
    """The one that splits most lines into as many fields as the header has; "" for a single column."""
    best = (0.0, 0, "")
    for mark in ",;\t|":
        try:
            rows = [row for row in csv.reader(io.StringIO(text[:65536]), delimiter=mark) if row][:200]
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        fitting = sum(len(row) in (width, width + 1) for row in rows) / max(len(rows), 1)
        if width > 1 and fitting > 0.5:
            best = max(best, (round(fitting, 1), width, mark))
    return best[2]


def tidy(pd, raw, about):
    """Plain names; numbers, dates and text as such; no columns that only count the rows."""
    raw, columns = raw.reset_index(drop=True), {}
    for position, name in enumerate(raw.columns, 1):
        name = " ".join(str(name).split()) or f"column_{position}"
        while name in columns:
            name += "_2"
        columns[name] = tidy_column(pd, raw.iloc[:, position - 1], name, about)
    frame = pd.DataFrame(columns, index=raw.index)
    for name in [name for name in columns if name.startswith("Unnamed:") or name == "index"]:
        counts = len(frame) and pd.api.types.is_integer_dtype(frame[name]) and (frame[name].diff().dropna() == 1).all()
        if counts:
            about["notes"].append(f"column {name!r} only counts the rows and was left out")
        if counts or frame[name].isna().all():
            frame = frame.drop(columns=name)
    return frame


def tidy_column(pd, column, name, about):
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(column):
        return pd.to_datetime(column, utc=True).dt.tz_localize(None)
    if kinds.is_numeric_dtype(column) and not kinds.is_bool_dtype(column):
        return column.replace([float("inf"), float("-inf")], float("nan"))
    if kinds.is_object_dtype(column) or kinds.is_bool_dtype(column):
        column = column.map(
            lambda cell: json.dumps(cell) if isinstance(cell, (list, dict)) else str(cell), na_action="ignore"
        )
    codes, found = pd.factorize(column)  # each different text is read once, however often it stands there
    levels = pd.Series(found, dtype=object).astype(object)
    levels = levels.map(lambda text: text.strip() or None)
    present = int(levels.reindex(codes).notna().sum())
    for what, read in (("a number", as_numbers), ("a date", as_dates)):
        values = read(pd, levels.dropna(), name, about) if present else None
        if values is None:
            continue
        values = values.reindex(codes).reset_index(drop=True)
        strays = present - int(values.notna().sum())
        if strays <= (1 - MANY) * present:
            if strays:
                about["notes"].append(f"{strays} values of {name!r} are not {what} and count as missing")
            return whole_if_whole(values) if what == "a number" else values
    return levels.reindex(codes).reset_index(drop=True)


def whole_if_whole(numbers):
    whole = numbers.notna().all() and (numbers % 1 == 0).all() and numbers.abs().max() < 2**53
    return numbers.astype("int64") if whole else numbers.astype(float)


def like_codes(texts):
    """007 is a name, not the number 7."""
    return bool(len(texts) and texts.str.fullmatch(r"\s*\d+\s*").all() and texts.str.match(r"\s*0\d").any())


def as_numbers(pd, texts, name, about):
    """1234.5, $1,234.50, 1.234,50, 12 %; None when this is not a column of numbers. Codes like 007 stay text."""
    if like_codes(texts):
        return None
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.isna().any():
        plain = texts.str.replace(r"[\s$€£¥%'\u2019]", "", regex=True).str.replace("\u2212", "-", regex=False)
        commas = plain[plain.str.contains(",", regex=False)]
        if len(commas):
            thousands = commas.str.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?").mean() >= MANY
            decimal = commas.str.fullmatch(r"-?(\d{1,3}(\.\d{3})+|\d*),\d+").mean() >= MANY
            if decimal and not (thousands and about.get("separator") == ","):
                plain = plain.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            elif thousands:
                plain = plain.str.replace(",", "", regex=False)
        numbers = pd.to_numeric(plain, errors="coerce")
    return numbers.astype(float).where(numbers.abs() != float("inf"))


def as_dates(pd, texts, name, about):
    sample = texts.iloc[:500]
    if sample.str.fullmatch(LIKE_A_DATE).mean() < MANY:
        return None
    fits = {day: pd.to_datetime(sample, format=day, errors="coerce", utc=True).notna().mean() for day in DATES}
    best = max(DATES, key=lambda day: fits[day])
    if fits[best] < MANY:
        return None
    if best == "%m/%d/%Y" and fits["%d/%m/%Y"] == fits[best]:
        about["notes"].append(f"{name!r} was read as month/day/year; day/month/year fits as well")
    return pd.to_datetime(texts, format=best, errors="coerce", utc=True).dt.tz_localize(None)


def is_year(name, present, whole):
    return whole and bool(A_YEAR.search(name)) and bool(present.between(1800, 2100).all())


def roles(pd, frame):
    """What each column can be used for. A small whole number can be both a measure and a group."""
    found = {"numeric": [], "groups": [], "time": [], "text": [], "left_out": {}}
    for name in frame:
        present = frame[name].dropna()
        levels = present.nunique()
        number = pd.api.types.is_numeric_dtype(present)
        whole = number and bool((present % 1 == 0).all())
        if levels < 2:
            found["left_out"][name] = "empty" if present.empty else "the same value everywhere"
        elif pd.api.types.is_datetime64_any_dtype(present) or is_year(name, present, whole):
            found["time"].append(name)
        elif AN_ID.match(name) and levels > 30 and len(frame.columns) > 1 and (whole or not number):
            found["left_out"][name] = "an identifier"
        elif number:
            found["numeric"] += [name] if levels > 2 else []
            found["groups"] += [name] if levels == 2 or (whole and levels <= 8 and len(present) >= 10 * levels) else []
        elif levels <= 30 and levels <= len(present) / 2:
            found["groups"].append(name)
        else:
            found["text"].append(name)
    return found
