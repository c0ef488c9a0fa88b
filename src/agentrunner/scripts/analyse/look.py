import json
import runpy

frame, about = runpy.run_path("read_table.py")["read_table"]()
seen = {"table": None, "rows": 0, "columns": 0, "summary": about["problem"], "left_out": "nothing"}
seen["names"] = "nothing, so only the goal and the workspace can be looked at"
if frame is not None:
    roles = about["roles"]
    print(frame.head(4).to_string(max_cols=8, max_colwidth=24))
    print()
    for name in list(frame)[:25]:
        column = frame[name].dropna()
        example = "" if column.empty else f", e.g. {str(column.iloc[0])[:30]}"
        sizes = f"{column.nunique()} different, {len(frame) - len(column)} missing"
        print(f"{name[:40]}: {frame[name].dtype}, {sizes}{example}")
    kinds = [("numeric", "numbers"), ("groups", "groups"), ("time", "time"), ("text", "free text")]
    uses = [f"{label}: {', '.join(n[:30] for n in roles[kind][:8])}" for kind, label in kinds if roles[kind]]
    seen = {
        "table": about["file"],
        "rows": len(frame),
        "columns": len(frame.columns),
        "summary": f"{about['file']} has {len(frame)} rows and {len(frame.columns)} columns",
        "names": "; ".join(uses) or "nothing that could be compared",
        "left_out": "; ".join(f"{n[:30]} ({why})" for n, why in list(roles["left_out"].items())[:8]) or "nothing",
    }
print(json.dumps(seen, ensure_ascii=False))
