"""Encodes header lists by the Python package hpack: one block a line, in hex."""

import sys

from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

encoder, fields, blocks = Encoder(), [], 0
for line in sys.stdin.buffer:
    what, *rest = line.rstrip(b"\n").split(b"\t")
    if what == b"table":
        if int(rest[0]) != encoder.header_table_size:
            encoder.header_table_size = int(rest[0])
    elif what == b"field":
        kind = NeverIndexedHeaderTuple if rest[0] == b"1" else HeaderTuple
        fields.append(kind(rest[1], rest[2]))
    else:
        # Every third block without the Huffman code.
        print(encoder.encode(fields, huffman=blocks % 3 != 2).hex())
        fields, blocks = [], blocks + 1
