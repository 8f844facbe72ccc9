"""Puts header lists and the blocks of an encoder together to a story."""

import json
import sys

encoder, lists, blocks = sys.argv[1:]
cases, fields, size, never = [], [], 4096, []
with open(blocks) as blocks, open(lists) as lists:
    for line in lists:
        what, *rest = line.rstrip("\n").split("\t")
        if what == "table":
            size = int(rest[0])
        elif what == "field":
            fields.append({rest[1]: rest[2]})
            if rest[0] == "1":
                never.append(rest[1])
        else:
            case = {"seqno": len(cases), "header_table_size": size}
            case["wire"] = next(blocks).strip()
            case["headers"], case["never_indexed"] = fields, never
            cases.append(json.dumps(case, separators=(",", ":")))
            fields, never = [], []
print(f'{{"description":"encoded by {encoder}","cases":[')
print(",\n".join(cases))
print("]}")
