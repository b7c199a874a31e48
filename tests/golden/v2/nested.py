"""The second implementation: makes nested.json from what tests/golden/README.md and the file comment of
src/delta/fingerprint.rs say, with the C library of xxHash (`pip install xxhash==4.1.0`) and nothing of this project's code.

    python3 tests/golden/v2/nested.py > tests/golden/v2/nested.json
"""

import json
import struct

import xxhash

WORD = 2**64
ODD = 0x9E3779B97F4A7C15


# The canonical encoding.

def scalar(kind, text):
    if kind == "null":
        return b"\x00"
    if kind == "boolean":
        return b"\x02" if text == "true" else b"\x01"
    if kind == "integer":
        number = int(text)
        if number >= 2**63:
            return b"\x04" + number.to_bytes(8, "little")
        return b"\x03" + number.to_bytes(8, "little", signed=True)
    if kind in ("float32", "float64"):
        number = float(text)
        if kind == "float32":
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        if number != number:
            return b"\x05" + bytes.fromhex("000000000000f87f")
        return b"\x05" + struct.pack("<d", number + 0.0)
    if kind == "decimal":
        whole, _, fraction = text.partition(".")
        mantissa, scale = int(whole + fraction), len(fraction)
        if mantissa == 0:
            scale = 0
        while mantissa and mantissa % 10 == 0:
            mantissa, scale = mantissa // 10, scale - 1
        return b"\x06" + scale.to_bytes(1, "little", signed=True) + mantissa.to_bytes(32, "little", signed=True)
    if kind == "text":
        return b"\x07" + sized(text.encode())
    if kind == "binary":
        return b"\x08" + sized(bytes.fromhex(text))
    if kind == "date":
        return b"\x09" + int(text).to_bytes(4, "little", signed=True)
    if kind == "time":
        return b"\x0a" + int(text).to_bytes(8, "little", signed=True)
    wide = {"timestamp": b"\x0b", "local_timestamp": b"\x0c", "duration": b"\x0d"}
    if kind in wide:
        return wide[kind] + int(text).to_bytes(16, "little", signed=True)
    if kind == "interval":
        months, days, nanoseconds = map(int, text.split(" "))
        return b"\x0e" + struct.pack("<iiq", months, days, nanoseconds)
    raise ValueError(kind)


def count(number):
    return number.to_bytes(4, "little")


def sized(text):
    return count(len(text)) + text


def encoded(kind, value):
    if value is None:
        return b"\x00"
    if isinstance(kind, str):
        return scalar(kind, value)
    if "list" in kind:
        return b"\x10" + count(len(value)) + b"".join(encoded(kind["list"], item) for item in value)
    if "struct" in kind:
        members = sorted((name.encode(), its, value.get(name)) for name, its in kind["struct"])
        parts = [sized(name) + encoded(its, member) for name, its, member in members]
        return b"\x11" + count(len(parts)) + b"".join(parts)
    key, its = kind["map"]
    entries = sorted((encoded(key, name), encoded(its, entry)) for name, entry in value)
    return b"\x12" + count(len(entries)) + b"".join(name + entry for name, entry in entries)


# The fingerprints.

def variant13(word):
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def fmix64(word):
    word = (word ^ (word >> 33)) * 0xFF51AFD7ED558CCD % WORD
    word = (word ^ (word >> 33)) * 0xC4CEB9FE1A85EC53 % WORD
    return word ^ (word >> 33)


def halves(hashed):
    return hashed % WORD, hashed >> 64


def first(field, kind, value):
    seed = xxhash.xxh3_64_intdigest(field.encode())
    return xxhash.xxh3_128_intdigest(encoded(kind, value), seed)


def second(field, kind, value):
    low, high = halves(xxhash.xxh3_128_intdigest(field.encode()))
    if value is None:
        return variant13(low), fmix64(high)
    if kind == "integer":
        word, three = int(value) % WORD, 3 * ODD
        return variant13(word ^ (low + three) % WORD), fmix64(word ^ (high + three) % WORD)
    assert not isinstance(kind, str), "rows here are of integers and nested values"
    return halves(xxhash.xxh3_128_intdigest(encoded(kind, value), (low + 255 * ODD) % WORD))


def fingerprints(fields):
    one = sum(first(*field) for field in fields) % 2**128
    both = [sum(half) % WORD for half in zip(*(second(*field) for field in fields))]
    return f"{one:032x}", f"{both[1] << 64 | both[0]:032x}"


# The cases.

def of(kind, *values):
    return [(kind, value) for value in values]


POINT = {"struct": [["x", "integer"], ["y", "integer"]]}
TURNED = {"struct": [["y", "integer"], ["x", "integer"]]}
PERSON = {"struct": [["name", "text"], ["tags", {"list": "text"}], ["at", POINT], ["seen", {"map": ["text", "timestamp"]}]]}
EVERY = {
    "struct": [
        ["null", "null"], ["boolean", "boolean"], ["integer", "integer"], ["unsigned", "integer"], ["float32", "float32"],
        ["float64", "float64"], ["decimal", "decimal"], ["text", "text"], ["binary", "binary"], ["date", "date"],
        ["time", "time"], ["timestamp", "timestamp"], ["local_timestamp", "local_timestamp"], ["duration", "duration"],
        ["interval", "interval"],
    ]
}

VALUES = [
    *of({"list": "integer"}, None, [], [None], ["0"], ["1", "2"], ["2", "1"], ["1", None, "-9223372036854775808"], ["1"] * 300),
    *of({"list": "text"}, [], [""], ["", ""], ["ab", "c"], ["a", "bc"], ["Zo\u00eb", None, "a\u0000b"]),
    *of({"list": "float64"}, ["-0", "0"], ["nan", "inf", "0.1"]),
    *of({"list": "decimal"}, ["1.50", "-0.05"], ["0.00"]),
    *of({"list": "null"}, [], [None], [None, None]),
    *of({"list": {"list": "integer"}}, [], [[]], [None], [[], []], [["1"], ["2"]], [["1", "2"]], [["1", "2"], []]),
    *of(POINT, None, {}, {"x": "1"}, {"y": "1"}, {"x": "1", "y": "2"}, {"x": "2", "y": "1"}),
    *of(TURNED, {"x": "1", "y": "2"}),
    *of({"struct": [["\u00e9", "integer"], ["z", "integer"], ["Z", "integer"], ["", "integer"], ["zz", "integer"]]},
        {"\u00e9": "1", "z": "2", "Z": "3", "": "4", "zz": "5"}),
    *of({"struct": [["at", POINT]]}, {}, {"at": {}}, {"at": {"y": "1"}}),
    *of({"map": ["text", "integer"]}, None, [], [["a", "1"], ["b", "2"]], [["b", "2"], ["a", "1"]], [["a", None]],
        [["b", "1"], ["aa", "1"], ["", "1"]], [["a", "2"], ["a", "1"]], [["a", "1"], ["a", "1"]]),
    *of({"map": ["integer", "text"]}, [["256", "x"], ["1", "y"], ["-1", "z"]]),
    *of({"map": ["boolean", {"map": ["text", "boolean"]}]}, [["true", [["b", "true"], ["a", "false"]]], ["false", None]]),
    *of({"map": ["text", {"list": POINT}]}, [["k", [{"x": "1"}, None]], ["j", []]]),
    *of(PERSON, {}, {"name": "Ann", "tags": ["a", None], "at": {"x": "1", "y": "-1"}, "seen": [["web", "0"], ["app", "-1"]]}),
    *of({"list": PERSON}, [{"name": "Ann"}, None, {"name": "", "tags": [], "seen": []}]),
    *of(EVERY, {}, {
        "boolean": "false", "integer": "-1", "unsigned": "18446744073709551615", "float32": "0.1", "float64": "-0",
        "decimal": "-12345678901234567890123.4500", "text": "\U0001f600", "binary": "ff00", "date": "-719162",
        "time": "86399999999999", "timestamp": "1357016400000000000", "local_timestamp": "-1", "duration": "1500000000",
        "interval": "1 2 -500000000",
    }),
]

ROWS = [
    [["id", "integer", "42"], ["tags", {"list": "text"}, ["a", "b"]], ["at", POINT, {"x": "1"}]],
    [["at", TURNED, {"x": "1"}], ["id", "integer", "42"], ["tags", {"list": "text"}, ["a", "b"]]],
    [["id", "integer", None], ["tags", {"list": "text"}, None], ["at", POINT, None]],
    [["one", {"list": "integer"}, ["1"]], ["two", {"list": "integer"}, ["1"]]],
]


def value(kind, its):
    one, two = fingerprints([("v", kind, its)])
    return {"type": kind, "value": its, "bytes": encoded(kind, its).hex(), "fingerprint_1": one, "fingerprint_2": two}


def row(fields):
    one, two = fingerprints(fields)
    said = [{"field": field, "type": kind, "value": its} for field, kind, its in fields]
    return {"fields": said, "fingerprint_1": one, "fingerprint_2": two}


def lines(parts):
    return ",\n    ".join(json.dumps(part) for part in parts)


if __name__ == "__main__":
    print(f'{{\n  "encoding": 1,\n  "values": [\n    {lines(value(*one) for one in VALUES)}\n  ],')
    print(f'  "rows": [\n    {lines(row(fields) for fields in ROWS)}\n  ]\n}}')
