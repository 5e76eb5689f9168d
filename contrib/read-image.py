#!/usr/bin/env python3
"""Reads a checkpoint: a second implementation of docs/format.md.

    read-image.py STORE             check the store, and list its checkpoints
    read-image.py STORE JOB@N       check one, decode all of it, and print it as JSON
    read-image.py --state FILE      the same for an encoded state alone
    read-image.py --layer FILE      ... for a memory layer
    read-image.py --undo DIR        ... for the undo log of a job (STORE/undo/JOB)

The state is encoded again, and must give the same bytes. Of an encrypted checkpoint the digests are checked. Needs Python 3.8 and the command `zstd`; nothing else.
"""

import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import tarfile


class Bad(Exception):
    """The bytes are not what the page says."""


def need(holds, what):
    if not holds:
        raise Bad(what)


# --- Formats -----------------------------------------------------------------------------------------------------
# A format is an object that can `read` a value from an Input and `write` it to a bytearray. Below, the state, the
# WASI section and the undo log are put together from these.


class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(n <= self.left(), f"the end comes too early, at byte {self.at}")
        self.at += n
        return self.data[self.at - n:self.at]

    def left(self):
        return len(self.data) - self.at


class Int:
    """A little-endian number of a width."""

    def __init__(self, width, allowed=None):
        self.width, self.allowed = width, allowed

    def read(self, i):
        at, n = i.at, int.from_bytes(i.take(self.width), "little")
        need(self.allowed is None or n in self.allowed, f"{n} at byte {at} has no meaning")
        return n

    def write(self, out, n):
        out += n.to_bytes(self.width, "little")


class Uleb:
    """Unsigned LEB128, the shortest form only."""

    def __init__(self, below):
        self.below = below

    def read(self, i):
        at, n, shift = i.at, 0, 0
        while True:
            byte = i.take(1)[0]
            n |= (byte & 0x7F) << shift
            if byte < 0x80:
                need(byte > 0 or shift == 0, f"the number at byte {at} is not in its shortest form")
                need(n < self.below, f"the number at byte {at} is too large")
                return n
            shift += 7
            need(shift < 70, f"the number at byte {at} is too long")

    def write(self, out, n):
        while n >= 0x80:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        out.append(n)


class Const:
    """Bytes that are always the same."""

    def __init__(self, expected):
        self.expected = expected

    def read(self, i):
        at, found = i.at, i.take(len(self.expected))
        need(found == self.expected, f"{found} at byte {at}, not {self.expected}")

    def write(self, out, _):
        out += self.expected


class Hex:
    """Bytes without a text form: `length` is a number, the format of one, or None for all that is left."""

    def __init__(self, length):
        self.length = length

    def read(self, i):
        n = i.left() if self.length is None else self.length
        return i.take(n if isinstance(n, int) else n.read(i)).hex()

    def write(self, out, text):
        data = bytes.fromhex(text)
        if self.length is not None and not isinstance(self.length, int):
            self.length.write(out, len(data))
        out += data


class Text:
    """A length and UTF-8; or, if `raw`, any bytes (those that are not UTF-8 become lone surrogates, as Python does it)."""

    def __init__(self, length, raw=False):
        self.length, self.errors = length, "surrogateescape" if raw else "strict"

    def read(self, i):
        at = i.at
        try:
            return i.take(self.length.read(i)).decode("utf-8", self.errors)
        except UnicodeDecodeError:
            raise Bad(f"the name at byte {at} is not UTF-8")

    def write(self, out, text):
        data = text.encode("utf-8", self.errors)
        self.length.write(out, len(data))
        out += data


class List:
    def __init__(self, count, item):
        self.count, self.item = count, item

    def read(self, i):
        at, n = i.at, self.count.read(i)
        # Every item has at least one byte.
        need(n <= i.left(), f"the list at byte {at} is longer than what follows")
        return [self.item.read(i) for _ in range(n)]

    def write(self, out, items):
        self.count.write(out, len(items))
        for item in items:
            self.item.write(out, item)


class Record:
    """Named fields, one after the other; those that are always the same are not shown."""

    def __init__(self, **fields):
        self.fields = fields

    def read(self, i):
        values = {name: format.read(i) for name, format in self.fields.items()}
        return {name: v for name, v in values.items() if not isinstance(self.fields[name], Const)}

    def write(self, out, values):
        for name, format in self.fields.items():
            format.write(out, values.get(name))


class Choice:
    """A byte that says what follows. Shown as {name: what follows}, or the name alone if nothing does."""

    def __init__(self, **options):
        self.by_tag = {int(key.rsplit("_", 1)[1], 16): (key.rsplit("_", 1)[0], f) for key, f in options.items()}
        self.by_name = {name: (tag, format) for tag, (name, format) in self.by_tag.items()}

    def read(self, i):
        at, tag = i.at, i.take(1)[0]
        need(tag in self.by_tag, f"unknown kind {tag:#04x} at byte {at}")
        name, format = self.by_tag[tag]
        return {name: format.read(i)} if format else name

    def write(self, out, value):
        name, rest = (value, None) if isinstance(value, str) else next(iter(value.items()))
        tag, format = self.by_name[name]
        out.append(tag)
        if format:
            format.write(out, rest)


def decode(format, data):
    """The value that `data` is, all of it; and the same value must give the same bytes."""
    i = Input(data)
    value = format.read(i)
    need(i.left() == 0, f"{i.left()} bytes follow the end")
    again = bytearray()
    format.write(again, value)
    need(again == data, "encoded again, it is something else")
    return value


# --- The state ---------------------------------------------------------------------------------------------------

U8, U16, U32, U64 = Int(1), Int(2), Int(4), Int(8)
FLAG = Int(1, allowed=(0, 1))
COUNT = Uleb(1 << 32)
INDEX = Uleb(1 << 32)

# Floating-point numbers are shown as their bits.
VALUE = Choice(i32_7f=U32, i64_7e=U64, f32_7d=U32, f64_7c=U64, v128_7b=Hex(16), funcref_70=INDEX,
               null_funcref_73=None, null_externref_72=None, exnref_69=INDEX, null_exnref_74=None)
VALUES = List(COUNT, VALUE)
NUMBERED = List(COUNT, Record(index=INDEX, value=VALUE))
FRAME = Record(function=INDEX, offset=INDEX, locals=NUMBERED, operands=VALUES)
STATE = dict(
    magic=Const(b"DMSTATE\0"), version=Int(4, allowed=(1, 2)), module=Hex(32),
    frames=List(COUNT, FRAME), globals=NUMBERED,
    tables=List(COUNT, Record(index=INDEX, values=VALUES)),
    exceptions=List(COUNT, Record(tag=INDEX, values=VALUES)),
    memories=List(COUNT, Record(index=INDEX, pages=Uleb((1 << 48) + 1))),
    dropped_data=List(COUNT, INDEX), dropped_elements=List(COUNT, INDEX),
    wasi=Hex(Uleb((1 << 28) + 1)))
HOST = List(COUNT, Record(name=Text(Uleb(257)), bytes=Hex(Uleb((1 << 28) + 1))))
STATE_1, STATE_2 = Record(**STATE), Record(**STATE, host=HOST)


def decode_state(data):
    return decode(STATE_2 if data[8:12] == b"\2\0\0\0" else STATE_1, data)


def ascending(what, indices, below):
    last = -1
    for index in indices:
        need(last < index < below, f"{what} {index} is out of order, or too large")
        last = index


def check_state(state):
    """The rules that the encoding alone does not keep."""
    exceptions = state["exceptions"]
    known = len(exceptions)

    def references(values, below):
        for v in values:
            need(not isinstance(v, dict) or v.get("exnref", -1) < below, "an exception that is not there")

    need(1 <= len(state["frames"]) <= 1 << 24, "no frames, or too many")
    need(known <= 1 << 24, "too many exceptions")
    for frame in state["frames"]:
        ascending("local", (l["index"] for l in frame["locals"]), 50_000)
        need(len(frame["operands"]) <= 1 << 20, "too many operands")
        references([l["value"] for l in frame["locals"]] + frame["operands"], known)
    ascending("global", (g["index"] for g in state["globals"]), 1_000_000)
    references((g["value"] for g in state["globals"]), known)
    ascending("table", (t["index"] for t in state["tables"]), 100_000)
    need(sum(len(t["values"]) for t in state["tables"]) <= 1 << 26, "too many entries of tables")
    for table in state["tables"]:
        names = {v if isinstance(v, str) else next(iter(v)) for v in table["values"]}
        kinds = {name.replace("null_", "") for name in names}
        need(len(kinds) <= 1 and kinds <= {"funcref", "externref", "exnref"}, "a table of several types")
        references(table["values"], known)
    for at, exception in enumerate(exceptions):
        need(len(exception["values"]) <= 1000, "too many values of an exception")
        references(exception["values"], at)
    ascending("memory", (m["index"] for m in state["memories"]), 1000)
    ascending("data segment", state["dropped_data"], 10_000_000)
    ascending("element segment", state["dropped_elements"], 10_000_000)
    if state["version"] == 2:
        names = [h["name"].encode("utf-8") for h in state["host"]]
        need(names and names[0] and all(a < b for a, b in zip(names, names[1:])), "states of host functions out of order")
        need(len(names) <= 1000, "too many states of host functions")
        need(sum(len(h["bytes"]) for h in state["host"]) // 2 <= 1 << 28, "states of host functions are too large")


# --- The WASI section --------------------------------------------------------------------------------------------

STRING, NAME = Text(U32, raw=True), Text(U32)
PLACE = Record(preopen=U32, path=NAME)
FILE_FLAGS = Int(1, allowed=[n for n in range(16) if n & 3])
STREAM = Choice(other_0=None, terminal_1=None, file_2=Record(dev=U64, ino=U64, position=U64),
                bytes_3=Record(position=U64))
LISTING = List(U32, Record(name=NAME, filetype=Int(1, allowed=range(8)), ino=U64))
WASI = dict(
    magic=Const(b"DMWS"), version=Int(2, allowed=(1, 2, 3)), reserved=Const(b"\0\0"), monotonic=U64,
    arguments=List(U32, STRING), environment=List(U32, Record(key=STRING, value=STRING)),
    preopens=List(U32, Record(guest=NAME, host=STRING)),
    stdin=STREAM, stdout=STREAM, stderr=STREAM,
    wait=Choice(none_0=None, poll_1=Record(begin=U64, deadline=U64, subscriptions=U32, events=U32,
                                           nsubscriptions=U32, nevents=U32)),
    end=U32,
    descriptors=List(U32, Record(fd=U32, what=Choice(
        stream_0=Int(1, allowed=(0, 1, 2)),
        directory_1=Record(place=PLACE, preopen=FLAG, ino=U64, listing=Choice(none_0=None, entries_1=LISTING)),
        file_2=Record(place=PLACE, flags=FILE_FLAGS, offset=U64, ino=U64, size=U64, mtime=U64),
        device_3=Record(place=PLACE, flags=FILE_FLAGS, offset=U64, ino=U64),
        file_4=Record(place=PLACE, flags=FILE_FLAGS, offset=U64, ino=U64, size=U64, mtime=U64, digest=Hex(32))))))
WASI_1 = Record(**WASI)
WASI_2 = Record(**WASI, restored=U32, in_checkpoint=FLAG, excluded=List(U32, Record(start=U64, end=U64)))


def read_wasi(data):
    wasi = decode(WASI_1 if data[4:6] == b"\1\0" else WASI_2, data)
    least = 0
    need(len(wasi.get("excluded", [])) <= 4096, "there are too many excluded ranges")
    for excluded in wasi.get("excluded", []):
        need(least <= excluded["start"] < excluded["end"] <= 1 << 32, "an excluded range is out of order")
        least = excluded["end"] + 1
    need(wasi["end"] <= 1 << 20, "too many file descriptors")
    digests = any("digest" in what for d in wasi["descriptors"] for what in d["what"].values() if isinstance(what, dict))
    need(digests == (wasi["version"] == 3), "digests that this version has not, or none")
    ascending("file descriptor", (d["fd"] for d in wasi["descriptors"]), wasi["end"])
    for descriptor in wasi["descriptors"]:
        (kind, what), = descriptor["what"].items()
        if kind == "stream":
            continue
        path = what["place"]["path"]
        need(what["place"]["preopen"] < len(wasi["preopens"]), "a path beneath a directory that is not there")
        parts = path.split("/") if path else []
        need(all(p not in ("", ".", "..") and "\0" not in p for p in parts), f"the path {path!r} is not plain")
        if kind == "directory":
            need(not (what["preopen"] and path), "a preopened directory that is not one")
            listed = what["listing"]
            need(listed == "none" or len(listed["entries"]) <= 1 << 20, "a directory listing is too long")
    return wasi


def read_state(data):
    need(len(data) <= 1 << 30, "the state is too long")
    state = decode_state(data)
    check_state(state)
    return state


# --- Memory layers -----------------------------------------------------------------------------------------------

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC_TABLE.append(n)


def crc32c(data):
    crc, table = 0xFFFFFFFF, CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def unzstd(frame):
    done = subprocess.run(["zstd", "-dcq"], input=frame, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    need(done.returncode == 0, f"zstd: {done.stderr.decode().strip()}")
    return done.stdout


def read_difference(i):
    """The pieces of a difference: offset and bytes."""
    begin, end, pieces = i.at, -1, []
    for _ in range(struct.unpack("<H", i.take(2))[0]):
        offset, n = struct.unpack("<HH", i.take(4))
        need(n > 0 and offset > end and offset + n <= 4096, "a piece of a difference is out of order")
        pieces.append((offset, i.take(n)))
        end = offset + n
    need(pieces and i.at - begin <= 2048, "a difference is empty or too long")
    return pieces


def read_layer(data, parent=None):
    """Checks a layer. What it holds, and the memory's pages then: a dictionary from number to 4096 bytes."""
    need(len(data) >= 48 and data[:8] == b"DMPAGES\0" and data[-8:] == b"DMINDEX\0", "not a memory layer")
    version, kind, memory, size = struct.unpack("<HHIQ", data[8:24])
    need(version == 1, f"a memory layer of version {version}")
    need(kind in (0, 1), f"a memory layer of kind {kind}")
    need(kind == 0 or parent is not None, "changes, without the layers before them")
    need(size <= 1 << 48, "the memory is too large")
    begin, frames, checksum = struct.unpack("<QII", data[-24:-8])
    need(24 <= begin <= len(data) - 24, "the index lies outside")
    index = Input(data[begin:-24])
    need(crc32c(data[:24] + index.data + data[-24:-12]) == checksum, "the checksum of the index does not match")
    at, next_page, pages, runs = 24, 0, dict(parent or {}) if kind else {}, []
    for _ in range(frames):
        length, checksum = struct.unpack("<II", index.take(8))
        said = struct.unpack("<I", index.take(4))[0] if kind else None
        count = struct.unpack("<I", index.take(4))[0]
        need(length <= (1 << 20) + (1 << 12) and 1 <= count <= 4096, "a frame's entry makes no sense")
        numbers = []
        for _ in range(count):
            first, n = struct.unpack("<QI", index.take(12))
            how = struct.unpack("<I", index.take(4))[0] if kind else 0
            need(first >= next_page and n >= 1 and first + n <= size * 16, "a run is out of order")
            need(how in (0, 1, 2), "pages stored in an unknown way")
            if how == 1:
                for number in range(first, first + n):
                    pages.pop(number, None)
            else:
                numbers += ((number, how) for number in range(first, first + n))
            runs.append([first, n] + [how] * kind)
            next_page = first + n
        need(len(numbers) <= 256 and at + length <= begin, "a frame is too large")
        contents = unzstd(data[at:at + length]) if length else b""
        need(said in (None, len(contents)), "a frame has another length")
        need(crc32c(contents) == checksum, "a frame's checksum does not match")
        frame = Input(contents)
        for number, how in numbers:
            if how == 0:
                pages[number] = frame.take(4096)
                continue
            page = bytearray(pages.get(number, bytes(4096)))
            for offset, piece in read_difference(frame):
                page[offset:offset + len(piece)] = piece
            pages[number] = bytes(page)
        need(frame.left() == 0, "a frame has another length")
        at += length
    need(at == begin and index.left() == 0, "frames and index do not fit each other")
    return {"memory": memory, "pages": size, "frames": frames, "runs": runs}, pages


def contents_digest(layer, pages):
    """SHA-256 of the whole memory, zero pages too. Not part of the format: a way to compare memories."""
    sha, zero, next_page = hashlib.sha256(), bytes(4096), 0
    for number, page in sorted(pages.items()):
        for _ in range(next_page, number):
            sha.update(zero)
        sha.update(page)
        next_page = number + 1
    for _ in range(next_page, layer["pages"] * 16):
        sha.update(zero)
    return sha.hexdigest()


# --- The store ---------------------------------------------------------------------------------------------------

ARTIFACT = "application/vnd.dormouse.checkpoint.v1"
STATE_TYPE = "application/vnd.dormouse.state.v1"
MODULE_TYPE = "application/wasm"
MEMORY_TYPE = "application/vnd.dormouse.memory.v1+zstd"
CHANGES_TYPE = "application/vnd.dormouse.memory-changes.v1+zstd"
FILES_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
SEALED = "+age"
CREATED = "org.opencontainers.image.created"


class Store:
    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "oci-layout")) as f:
            need(json.load(f).get("imageLayoutVersion") == "1.0.0", "oci-layout is of another version")
        with open(os.path.join(path, "index.json"), "rb") as f:
            raw = f.read()
        self.index = json.loads(raw)
        need(self.index.get("schemaVersion") == 2, "index.json has another schemaVersion")
        mark = b'"io.dormouse.index":"sha256:'
        at = raw.find(mark)
        if at < 0:
            need(b"io.dormouse." not in raw, "index.json has lost its digest")
        else:
            at += len(mark)
            zeroed = raw[:at] + b"0" * 64 + raw[at + 64:]
            digest = hashlib.sha256(zeroed).hexdigest().encode()
            need(raw[at:at + 64] == digest, "the digest of index.json does not hold")

    def blob(self, part, limit):
        """The bytes of a descriptor, when size and digest hold."""
        match = re.fullmatch("sha256:([0-9a-f]{64})", part["digest"])
        need(match, f"{part['digest']} is no SHA-256")
        need(part["size"] <= limit, f"{part['digest']} is too large")
        with open(os.path.join(self.path, "blobs", "sha256", match[1]), "rb") as f:
            data = f.read()
        need(len(data) == part["size"], f"{part['digest']} has {len(data)} bytes, not {part['size']}")
        need(hashlib.sha256(data).hexdigest() == match[1], f"{part['digest']} is damaged")
        return data

    def checkpoints(self):
        """Name and entry of each, the older first."""
        found = []
        for entry in self.index["manifests"]:
            name = self.identity(entry.get("annotations", {}))
            if name:
                found.append((name, entry["annotations"].get(CREATED, ""), entry))
        return [(name, entry) for name, _, entry in sorted(found, key=lambda f: f[:2])]

    @staticmethod
    def identity(annotations):
        job, number = annotations.get("io.dormouse.job", ""), annotations.get("io.dormouse.number", "")
        if re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,127}", job) and re.fullmatch("[1-9][0-9]{0,19}", number):
            return (job, int(number)) if int(number) < (1 << 64) - 1 else None
        return None

    def read(self, name, entry):
        manifest = json.loads(self.blob(entry, 4 << 20))
        need(manifest.get("schemaVersion") == 2, "the manifest has another schemaVersion")
        need(manifest.get("artifactType") == ARTIFACT, f"not a checkpoint: {manifest.get('artifactType')}")
        need("subject" not in manifest, "a manifest with a subject")
        annotations = manifest.get("annotations", {})
        need(self.identity(annotations) == name, "the manifest belongs to another checkpoint")

        parts = [manifest["config"]] + manifest["layers"]
        types = [p["mediaType"] for p in parts]
        sealed = [p for p in parts if p["mediaType"].endswith(SEALED)]
        if sealed:
            for part in parts:
                self.blob(part, 1 << 63)
            raise Bad(f"encrypted: {len(sealed)} of {len(parts)} parts are age files (digests hold); open them with `age -d`")
        need(types[:2] == [STATE_TYPE, MODULE_TYPE], f"parts of types {types}")
        files = [part for part in parts if part["mediaType"] == FILES_TYPE]
        memories = parts[2:len(parts) - len(files)]
        need({p["mediaType"] for p in memories} <= {MEMORY_TYPE, CHANGES_TYPE} and types[2:3] != [CHANGES_TYPE],
             f"parts of types {types}")
        config, module = parts[0], parts[1]
        state = read_state(self.blob(config, 1 << 30))
        need(module["digest"] == "sha256:" + state["module"], "the state belongs to another module")
        self.blob(module, 1 << 30)
        layers, pages = [], None
        for part in memories:
            changes = part["mediaType"] == CHANGES_TYPE
            data = self.blob(part, 1 << 63)
            need(data[10:12] == (b"\1\0" if changes else b"\0\0"), "a layer of another kind than its type says")
            layer, pages = read_layer(data, pages if changes else None)
            need(part["annotations"]["io.dormouse.memory"] == str(layer["memory"]), "a layer of another memory")
            if changes:
                older = layers.pop()
                need(older["memory"] == layer["memory"], "changes to another memory")
                need(older["pages"] <= layer["pages"], "a memory that shrinks")
            layers.append({**layer, "sha256": contents_digest(layer, pages)})
        wanted = [(m["index"], m["pages"]) for m in state["memories"]]
        need([(m["memory"], m["pages"]) for m in layers] == wanted, "other memories than the state has")
        # A store takes a state without WASI objects, too; nobody can resume it.
        state["wasi"] = read_wasi(bytes.fromhex(state["wasi"])) if state["wasi"] else None
        files = read_files([self.blob(part, 1 << 63) for part in files])
        return {"annotations": annotations, "state": state, "memories": layers, "files": files}


# --- Layers of files ---------------------------------------------------------------------------------------------


def read_files(layers):
    """What each name is, with the newest layer on top."""
    names = {}
    for data in layers:
        older = set(names)
        with tarfile.open(fileobj=io.BytesIO(unzstd(data)), mode="r:") as tar:
            for entry in tar:
                above, _, last = entry.name.rpartition("/")
                whiteout = last.startswith(".wh.")
                name = above + "/" + (last[4:] if whiteout else last)
                parts = name.split("/")
                need(re.fullmatch("0|[1-9][0-9]*", parts[0]) and len(parts) > 1
                     and not any(p in ("", ".", "..") or p.startswith(".wh.") for p in parts), f"{entry.name!r} is not plain")
                need(entry.isreg() or (not whiteout and (entry.isdir() or entry.issym())), f"{name!r} is of another kind")
                need(entry.uid == entry.gid == 0 and (entry.isreg() or entry.size == 0), f"{name!r} has what it cannot have")
                for n in range(1, len(parts)):
                    if names.get("/".join(parts[:n]), {}).get("kind", "directory") != "directory":
                        del names["/".join(parts[:n])]
                if not entry.isdir():
                    for beneath in [n for n in names if n.startswith(name + "/") and n in older]:
                        del names[beneath]
                older.discard(name)
                if whiteout:
                    need(entry.size == 0, f"the whiteout of {name!r} has contents")
                    names[name] = {"kind": "gone"}
                elif entry.isdir():
                    names[name] = {"kind": "directory", "mode": entry.mode & 0o777}
                elif entry.issym():
                    need(entry.linkname and not entry.linkname.startswith("/"), f"{name!r} is a link to {entry.linkname!r}")
                    names[name] = {"kind": "link", "target": entry.linkname}
                else:
                    contents = tar.extractfile(entry).read()
                    need(len(contents) == entry.size, f"{name!r} is cut short")
                    names[name] = {"kind": "file", "mode": entry.mode & 0o777, "size": entry.size,
                                   "mtime": entry.pax_headers.get("mtime", str(int(entry.mtime))),
                                   "sha256": hashlib.sha256(contents).hexdigest()}
    return dict(sorted(names.items()))


# --- The undo log ------------------------------------------------------------------------------------------------

WHERE = Choice(place_0=PLACE, kept_1=U32)
UNDO_HEADER = Record(magic=Const(b"DMUL"), version=Const(b"\1\0"), reserved=Const(b"\0\0"),
                     preopens=List(U32, STRING))
UNDO_RECORD = Choice(
    made_0=Record(place=PLACE), file_1=Record(place=PLACE, size=U64, seconds=U64, nanoseconds=U32),
    bytes_2=Record(where=WHERE, offset=U64, bytes=Hex(None)), gone_3=Record(place=PLACE, kept=U32),
    link_gone_4=Record(place=PLACE, target=STRING), directory_gone_5=Record(place=PLACE),
    moved_6=Record(**{"from": PLACE, "to": PLACE}))


def read_undo(directory):
    """The marks, oldest first, and what was done after each."""
    with open(os.path.join(directory, "chain"), "rb") as f:
        lines = f.read()
    # A line that was cut short is left out.
    marks = [lines[at:at + 16] for at in range(0, len(lines) - 16, 17)]
    chain = []
    for mark in (m.decode() for m in marks):
        path = os.path.join(directory, mark + ".undo")
        if not os.path.exists(path):
            chain.append({"mark": mark, "log": None})
            continue
        with open(path, "rb") as f:
            i = Input(f.read())
        need(i.data, f"the log of {mark} was given up: there is no way back beyond it")
        log = {**UNDO_HEADER.read(i), "records": []}
        while i.left() >= 8:
            length, checksum = U32.read(i), U32.read(i)
            if length > min(2 << 20, i.left()):
                break  # It was being written when the process ended.
            body = i.take(length)
            need(crc32c(body) == checksum, "a record's checksum does not match")
            log["records"].append(decode(UNDO_RECORD, body))
        chain.append({"mark": mark, "log": log})
    return chain


def main(args):
    if len(args) == 2 and args[0] in ("--state", "--layer"):
        with open(args[1], "rb") as f:
            data = f.read()
        need(not data.startswith(b"age-encryption.org/"), "encrypted: an age file; open it with `age -d`")
        if args[0] == "--state":
            return read_state(data)
        layer, pages = read_layer(data)
        return {**layer, "sha256": contents_digest(layer, pages)}
    if len(args) == 2 and args[0] == "--undo":
        return read_undo(args[1])
    if not args or len(args) > 2 or args[0].startswith("-"):
        sys.exit(__doc__.strip())
    store = Store(args[0])
    listed = {f"{job}@{number}": ((job, number), entry) for (job, number), entry in store.checkpoints()}
    if len(args) == 1:
        return list(listed)
    need(args[1] in listed, f"there is no {args[1]}")
    return store.read(*listed[args[1]])


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1:]), indent=1))
    except (Bad, OSError, KeyError, TypeError, AttributeError, ValueError) as e:
        sys.exit(f"error: {type(e).__name__}: {e}" if not isinstance(e, Bad) else f"error: {e}")
