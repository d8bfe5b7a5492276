#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write tests/io/hostile/: files that every reader has to refuse, named by what is wrong with them.

    python3 make_hostile.py
"""
import gzip
import json
import pathlib
import struct
import zlib

FOLDER = pathlib.Path(__file__).resolve().parent / "hostile"


# ---------------------------------------------------------------------------------------------- safetensors

def packed(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(name="w", dtype='"F32"', shape="[2]", offsets="[0,8]", extra=""):
    return f'{json.dumps(name)}:{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{extra}}}'


def single(data=bytes(8), **fields):
    return packed("{" + tensor(**fields) + "}", data)


def several(*tensors, data=bytes(16)):
    return packed("{" + ",".join(tensors) + "}", data)


SAFETENSORS = {
    "empty": b"",
    "seven_bytes": bytes(7),
    "length_zero": struct.pack("<Q", 0),
    "length_beyond_file": packed("{}", length=3),
    "length_2_to_64": packed("{}", length=2**64 - 1),
    "length_above_limit": packed("{}", length=100_000_001),
    "not_json": packed("{hello}"),
    "json_array": packed("[]"),
    "json_string": packed('"w"'),
    "leading_blank": packed(" {}"),
    "byte_order_mark": packed(b"\xef\xbb\xbf{}"),
    "truncated_json": packed('{"w":{"dtype":"F32","sha'),
    "text_after_object": packed("{} {}"),
    "zero_bytes_after_object": packed(b"{}\0\0\0\0\0\0"),
    "comment": packed("{/* */}"),
    "trailing_comma": packed("{" + tensor() + ",}", bytes(8)),
    "name_not_utf8": packed(b'{"\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "name_lone_surrogate": packed('{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "duplicate_name": several(tensor(), tensor(), data=bytes(8)),
    "duplicate_name_disjoint": several(tensor(), tensor(offsets="[8,16]")),
    "duplicate_name_escaped": packed("{" + tensor() + "," + tensor(offsets="[8,16]").replace("w", "\\u0077") + "}",
                                     bytes(16)),
    "duplicate_metadata": packed('{"__metadata__":{},"__metadata__":{}}'),
    "duplicate_metadata_key": packed('{"__metadata__":{"a":"1","a":"2"}}'),
    "duplicate_field": single(extra=',"dtype":"F32"'),
    "metadata_number": packed('{"__metadata__":{"a":1}}'),
    "metadata_nested": packed('{"__metadata__":{"a":{"b":"c"}}}'),
    "metadata_array": packed('{"__metadata__":["a"]}'),
    "metadata_null": packed('{"__metadata__":null}'),
    "metadata_as_tensor": packed("{" + tensor(name="__metadata__") + "}", bytes(8)),
    "tensor_number": packed('{"w":1}'),
    "tensor_array": packed('{"w":[0,8]}'),
    "tensor_null": packed('{"w":null}'),
    "tensor_empty": packed('{"w":{}}'),
    "missing_dtype": packed('{"w":{"shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "missing_shape": packed('{"w":{"dtype":"F32","data_offsets":[0,8]}}', bytes(8)),
    "missing_offsets": packed('{"w":{"dtype":"F32","shape":[2]}}', bytes(8)),
    "extra_field": single(extra=',"strides":[1]'),
    "unknown_dtype": single(dtype='"F8_E4M3"', shape="[8]"),
    "lowercase_dtype": single(dtype='"f32"'),
    "dtype_number": single(dtype="32"),
    "dtype_array": single(dtype='["F32"]'),
    "dtype_object": single(dtype="{}"),
    "shape_number": single(shape="2"),
    "shape_string": single(shape='"2"'),
    "shape_of_strings": single(shape='["2"]'),
    "shape_negative": single(shape="[-2]"),
    "shape_negative_zero": single(shape="[-0]", offsets="[0,0]", data=b""),
    "shape_fraction": single(shape="[2.0]"),
    "shape_true": single(shape="[true,2]"),
    "shape_null": single(shape="[null]"),
    "shape_nested": single(shape="[[2]]"),
    "shape_65_dimensions": single(shape="[" + "1," * 64 + "2]"),
    "shape_2_to_64": single(shape="[18446744073709551616]"),
    "shape_product_2_to_64": single(shape="[4294967296,4294967296]", offsets="[0,0]", data=b""),
    "shape_bytes_2_to_64": single(shape="[4611686018427387904]", offsets="[0,0]", data=b""),
    "shape_bytes_2_to_64_plus_8": single(shape="[4611686018427387906]"),
    "shape_number_1e999": single(shape="[1e999]"),
    "offsets_number": single(offsets="8"),
    "offsets_one": single(offsets="[8]"),
    "offsets_three": single(offsets="[0,4,8]"),
    "offsets_negative": single(offsets="[-8,0]"),
    "offsets_reversed": single(offsets="[8,0]"),
    "offsets_beyond_data": single(offsets="[0,8]", data=bytes(7)),
    "offsets_2_to_64": single(offsets="[18446744073709551608,18446744073709551615]"),
    "offsets_smaller_than_shape": single(shape="[3]"),
    "offsets_larger_than_shape": single(shape="[1]"),
    "offsets_not_a_multiple": single(offsets="[0,7]", data=bytes(7)),
    "overlap": several(tensor("a"), tensor("b", offsets="[4,12]"), data=bytes(12)),
    "overlap_same": several(tensor("a"), tensor("b"), data=bytes(8)),
    "overlap_inside": several(tensor("a", shape="[4]", offsets="[0,16]"), tensor("b", shape="[1]", offsets="[4,8]")),
    "overlap_empty_inside": several(tensor("a"), tensor("b", shape="[0]", offsets="[4,4]"), data=bytes(8)),
    "hole_at_begin": single(offsets="[8,16]", data=bytes(16)),
    "hole_between": several(tensor("a"), tensor("b", offsets="[12,20]"), data=bytes(20)),
    "bytes_after_last": single(data=bytes(9)),
    "bytes_without_tensor": packed("{}", bytes(1)),
    "nested_arrays_100000": packed('{"w":' + "[" * 100_000),
    "nested_shape_100000": packed('{"w":{"shape":' + "[" * 100_000),
    "nested_objects_20000": packed('{"w":' * 20_000),
}

# ------------------------------------------------------------------------------------------------------ npy

GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


def array(header=GOOD, data=bytes(8), version=(1, 0), length=None):
    text = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text + data


def shaped(shape, data=bytes(8)):
    return array(GOOD.replace("(2,)", shape), data)


def described(descr, data=bytes(8)):
    return array(GOOD.replace("'<f4'", descr), data)


NPY = {
    "empty": b"",
    "not_npy": b"PK\x03\x04 this is an npz file",
    "magic_only": b"\x93NUMPY",
    "no_length": b"\x93NUMPY\x01\x00\x10",
    "no_length_version_2": b"\x93NUMPY\x02\x00\x10\x00",
    "version_0": array(version=(0, 0)),
    "version_4": array(version=(4, 0)),
    "version_1_1": array(version=(1, 1)),
    "length_beyond_file": array(length=0xFFFF),
    "length_beyond_file_version_2": array(version=(2, 0), length=0xFFFFFFFF),
    "length_zero": array("", b""),
    "not_a_dictionary": array("[1, 2]"),
    "unterminated_dictionary": array(GOOD[:-2]),
    "unterminated_string": array("{'descr': '<f4"),
    "text_after_dictionary": array(GOOD + " 1"),
    "zero_bytes_after_dictionary": array(GOOD + "\0\0"),
    "missing_descr": array("{'fortran_order': False, 'shape': (2,), }"),
    "missing_order": array("{'descr': '<f4', 'shape': (2,), }"),
    "missing_shape": array("{'descr': '<f4', 'fortran_order': False, }"),
    "extra_key": array(GOOD.replace("{", "{'more': 1, ")),
    "duplicate_key": array(GOOD.replace("{", "{'descr': '<f4', ")),
    "big_endian": described("'>f4'"),
    "complex": described("'<c8'"),
    "object": described("'|O'"),
    "text": described("'<U1'"),
    "long_double": described("'<f16'", bytes(32)),
    "structured": described("[('x', '<f4')]"),
    "descr_number": described("4"),
    "fortran_matrix": array("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", bytes(24)),
    "order_number": array(GOOD.replace("False", "0")),
    "shape_list": shaped("[2]"),
    "shape_number": shaped("(2)"),
    "shape_negative": shaped("(-2,)"),
    "shape_fraction": shaped("(2.0,)"),
    "shape_without_comma": shaped("(1 2)"),
    "shape_two_commas": shaped("(2,,)"),
    "shape_unterminated": array("{'descr': '<f4', 'fortran_order': False, 'shape': (2,"),
    "shape_nested_100000": array("{'shape': " + "(" * 100_000, version=(2, 0)),
    "shape_65_dimensions": shaped("(" + "1, " * 64 + "2)"),
    "shape_2_to_64": shaped("(18446744073709551616,)"),
    "shape_product_2_to_64": shaped("(4294967296, 4294967296)", b""),
    "shape_bytes_2_to_64": shaped("(4611686018427387904,)", b""),
    "shape_bytes_2_to_64_plus_8": shaped("(4611686018427387906,)"),
    "too_short": array(data=bytes(7)),
    "no_data": array(data=b""),
    "too_long": array(data=bytes(9)),
}

# ------------------------------------------------------------------------------------------------------ idx


def idx(shape=(2, 3), data=bytes(6), kind=8, head=b"\0\0", dimensions=None):
    count = len(shape) if dimensions is None else dimensions
    return head + bytes([kind, count]) + b"".join(struct.pack(">I", extent) for extent in shape) + data


def gz(data):
    return gzip.compress(data, 9, mtime=0)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1:]


NOISE = bytes(i * i * 37 % 251 for i in range(600))
IMAGES = gz(idx((6, 10, 10), NOISE))

IDX = {
    "empty": b"",
    "three_bytes": b"\0\0\x08",
    "not_idx": b"hello, world",
    "first_bytes_not_zero": idx(head=b"\0\1"),
    "type_signed": idx(kind=9),
    "type_float": idx(kind=13, data=bytes(24)),
    "type_unknown": idx(kind=7),
    "dimensions_0": idx((), b"\0"),
    "dimensions_5": idx((1,) * 5, b"\0"),
    "dimensions_255": idx((2,), bytes(2), dimensions=255),
    "truncated_dimensions": idx()[:10],
    "no_dimensions": idx()[:4],
    "too_short": idx(data=bytes(5)),
    "no_data": idx(data=b""),
    "too_long": idx(data=bytes(7)),
    "claims_4_gib": idx((0xFFFFFFFF,), bytes(2)),
    "claims_2_to_64": idx((0xFFFFFFFF, 0xFFFFFFFF, 2), bytes(2)),
    "claims_2_to_128": idx((0xFFFFFFFF,) * 4, bytes(2)),
    "gzip_magic_only": b"\x1f\x8b",
    "gzip_truncated_header": IMAGES[:7],
    "gzip_truncated_data": IMAGES[:200],
    "gzip_truncated_checksum": IMAGES[:-5],
    "gzip_without_checksum": IMAGES[:-8],
    "gzip_wrong_checksum": flipped(IMAGES, len(IMAGES) - 8),
    "gzip_wrong_length": flipped(IMAGES, len(IMAGES) - 1),
    "gzip_corrupt_data": flipped(IMAGES, 300),
    "gzip_unknown_method": flipped(IMAGES, 2),
    "gzip_bytes_after_it": IMAGES + b"more",
    "gzip_zeros_after_it": IMAGES + bytes(8),
    "gzip_of_nothing": gz(b""),
    "gzip_of_text": gz(b"hello, world"),
    "gzip_too_short": gz(idx(data=bytes(5))),
    "gzip_too_long": gz(idx(data=bytes(7))),
    "gzip_too_long_second_member": gz(idx()) + gz(b"\0"),
    "gzip_claims_2_to_63": gz(idx((0xFFFFFFFF, 0x7FFFFFFF), bytes(2))),
    "gzip_claims_4_gib_of_zeros": gz(idx((0xFFFFFFFF,), bytes(1 << 20))),
    "zlib_not_gzip": zlib.compress(idx(), 9),
}

# ------------------------------------------------------------------------------------------------------ kld


def kld(context=5, vocabulary=3, chunks=2, tokens=(0, 1, 2, 1, 0, 2, 2, 2, 0, 1), rows=4, line=(2**-16, -1.5),
        magic=b"_logits_", row=None, end=b""):
    """Llama-perplexity's saved logits; by default two contexts of five tokens, a vocabulary of three."""
    row = struct.pack("<ff4H", *line, 0, 32768, 65535, 0) if row is None else row
    return magic + struct.pack(f"<3i{len(tokens)}i", context, vocabulary, chunks, *tokens) + row * rows + end


KLD = {
    "empty": b"",
    "magic_only": b"_logits_",
    "not_kld": b"hello, world",
    "other_magic": kld(magic=b"_logitS_"),
    "truncated_extents": kld()[:15],
    "context_2": kld(context=2, tokens=(0, 1, 2, 1), rows=0),
    "context_0": kld(context=0, tokens=(), rows=0),
    "context_negative": kld(context=-5),
    "vocabulary_0": kld(vocabulary=0, row=bytes(8)),
    "vocabulary_negative": kld(vocabulary=-3),
    "chunks_0": kld(chunks=0, tokens=(), rows=0),
    "chunks_negative": kld(chunks=-2),
    "all_largest": kld(2**31 - 1, 2**31 - 1, 2**31 - 1),
    "tokens_2_to_62": kld(context=2**31 - 1, chunks=2**31 - 1),
    "row_bytes_2_to_64": kld(context=2**31 - 1, vocabulary=2**31 - 1, chunks=3, tokens=(), rows=0),
    "truncated_tokens": kld()[:40],
    "no_rows": kld(rows=0),
    "row_missing": kld(rows=3),
    "row_too_many": kld(rows=5),
    "truncated_row": kld()[:-1],
    "byte_after_rows": kld(end=b"\0"),
    "rows_without_padding": kld(row=struct.pack("<ff3H", 2**-16, -1.5, 0, 32768, 65535)),
    "token_beyond": kld(tokens=(0, 1, 2, 1, 0, 2, 2, 2, 0, 3)),
    "token_negative": kld(tokens=(-1, 1, 2, 1, 0, 2, 2, 2, 0, 1)),
    "scale_nan": kld(line=(float("nan"), -1.5)),
    "scale_negative": kld(line=(-0.5, -1.5)),
    "scale_infinite": kld(line=(float("inf"), -1.5)),
    "least_nan": kld(line=(0.0, float("nan"))),
    "least_positive": kld(line=(0.0, 1.5)),
    "least_minus_infinite": kld(line=(0.0, -float("inf"))),
}


# ---------------------------------------------------------------------------------------------- gguf

U8, U32, BOOL, STRING, ARRAY, U64 = 0, 4, 7, 8, 9, 10


def text(value, length=None):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value) if length is None else length) + value


def entry(key="k", kind=U8, value=b"x"):
    return text(key) + struct.pack("<I", kind) + value


def elements(kind, count, values=b""):
    return struct.pack("<IQ", kind, count) + values


def info(name="w", shape=(2,), kind=0, offset=0, dimensions=None):
    dimensions = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", dimensions, *shape, kind, offset)


def gguf(entries=(), infos=(), data=b"", version=3, counts=None, magic=b"GGUF", align=32):
    counts = (len(infos), len(entries)) if counts is None else counts
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(entries) + b"".join(infos)
    return head + bytes(-len(head) % align if data else 0) + data


ALIGNED = entry("general.alignment", U32, struct.pack("<I", 64))

GGUF = {
    "empty": b"",
    "magic_only": b"GGUF",
    "half_header": gguf()[:15],
    "magic_ggml": gguf(magic=b"ggml"),
    "magic_lowercase": gguf(magic=b"gguf"),
    "magic_reversed": gguf(magic=b"FUGG"),
    "version_0": gguf(version=0),
    "version_1": gguf(version=1),
    "version_2": gguf(version=2),
    "version_4": gguf(version=4),
    "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensors_2_to_64": gguf(counts=(2**64 - 1, 0)),
    "entries_2_to_64": gguf(counts=(0, 2**64 - 1)),
    "one_tensor_too_many": gguf([], [info()], bytes(32), counts=(2, 0)),
    "one_entry_too_many": gguf([entry()], counts=(0, 2)),
    "entry_counted_as_tensor": gguf([entry()], counts=(1, 0)),
    "key_empty": gguf([entry("")]),
    "key_not_ascii": gguf([entry("\u00fc")]),
    "key_zero_byte": gguf([entry(b"a\0b")]),
    "key_65536": gguf([entry("a" * 65536)]),
    "key_length_2_to_64": gguf([text("k", 2**64 - 1) + struct.pack("<I", U8) + b"x" * 16]),
    "key_duplicate": gguf([entry(), entry("j"), entry()]),
    "type_13": gguf([entry(kind=13)]),
    "type_2_to_32": gguf([entry(kind=2**32 - 1)]),
    "value_missing": gguf([entry(kind=U64, value=b"seven b")]),
    "string_length_2_to_63": gguf([entry(kind=STRING, value=text("abc", 2**63))]),
    "string_too_long": gguf([entry(kind=STRING, value=text("abc", 4))]),
    "bool_2": gguf([entry(kind=BOOL, value=b"\2")]),
    "array_bool_255": gguf([entry(kind=ARRAY, value=elements(BOOL, 2, b"\0\xff"))]),
    "array_of_type_13": gguf([entry(kind=ARRAY, value=elements(13, 1, b"x"))]),
    "array_length_2_to_64": gguf([entry(kind=ARRAY, value=elements(U64, 2**64 - 1))]),
    "array_length_wraps": gguf([entry(kind=ARRAY, value=elements(U64, 2**61, bytes(64)))]),
    "array_of_strings_2_to_61": gguf([entry(kind=ARRAY, value=elements(STRING, 2**61, bytes(64)))]),
    "array_of_arrays_2_to_61": gguf([entry(kind=ARRAY, value=elements(ARRAY, 2**61, bytes(64)))]),
    "array_nested_9": gguf([entry(kind=ARRAY, value=elements(ARRAY, 1) * 8 + elements(U8, 1, b"x"))]),
    "array_nested_5000": gguf([entry(kind=ARRAY, value=elements(ARRAY, 1) * 5000 + elements(U8, 1, b"x"))]),
    "array_strings_cut": gguf([entry(kind=ARRAY, value=elements(STRING, 2, text("a") + text("bc", 9)))]),
    "alignment_0": gguf([entry("general.alignment", U32, bytes(4))], [info()], bytes(32)),
    "alignment_48": gguf([entry("general.alignment", U32, struct.pack("<I", 48))], [info()], bytes(48), align=48),
    "alignment_u64": gguf([entry("general.alignment", U64, struct.pack("<Q", 32))], [info()], bytes(32)),
    "alignment_text": gguf([entry("general.alignment", STRING, text("32"))], [info()], bytes(32)),
    "alignment_2_to_31": gguf([entry("general.alignment", U32, struct.pack("<I", 2**31))], [info()], bytes(32)),
    "alignment_2_to_31_nothing": gguf([entry("general.alignment", U32, struct.pack("<I", 2**31))], [info(shape=(0,))]),
    "alignment_not_kept": gguf([ALIGNED], [info("a"), info(offset=32)], bytes(64), align=64),
    "name_65": gguf([], [info("a" * 65)], bytes(32)),
    "name_zero_byte": gguf([], [info(b"a\0")], bytes(32)),
    "name_duplicate": gguf([], [info(), info(offset=32)], bytes(64)),
    "dimensions_5": gguf([], [info(shape=(2, 1, 1, 1, 1))], bytes(32)),
    "dimensions_2_to_32": gguf([], [info(dimensions=2**32 - 1)], bytes(32)),
    "shape_2_to_64": gguf([], [info(shape=(2**32, 2**32))], bytes(32)),
    "shape_wraps_to_8": gguf([], [info(shape=(2**61 + 1,), kind=27)], bytes(32)),
    "shape_bytes_2_to_64": gguf([], [info(shape=(2**62,))], bytes(32)),
    "tensor_type_removed": gguf([], [info(shape=(32,), kind=4)], bytes(32)),
    "tensor_type_repacked": gguf([], [info(shape=(32,), kind=31)], bytes(32)),
    "tensor_type_2_to_32": gguf([], [info(kind=2**32 - 1)], bytes(32)),
    "rows_not_whole_blocks": gguf([], [info(shape=(48, 2), kind=2)], bytes(64)),
    "rows_not_whole_blocks_k": gguf([], [info(shape=(32, 8), kind=12)], bytes(160)),
    "offset_not_aligned": gguf([], [info("a"), info(offset=8)], bytes(64)),
    "offset_overlap": gguf([], [info("a"), info()], bytes(64)),
    "offset_hole": gguf([], [info("a"), info(offset=64)], bytes(96)),
    "offset_2_to_64": gguf([], [info(offset=2**64 - 32)], bytes(64)),
    "offset_first_not_0": gguf([], [info(offset=32)], bytes(64)),
    "order_reversed": gguf([], [info("a", offset=32), info()], bytes(64)),
    "no_data": gguf([], [info()]),
    "data_too_short": gguf([], [info()], bytes(7)),
    "data_too_long": gguf([], [info()], bytes(33)),
    "data_without_tensors": gguf([], [], bytes(1)),
    "last_tensor_cut": gguf([], [info("a"), info(offset=32)], bytes(36)),
}


def main():
    for kind, files in (("safetensors", SAFETENSORS), ("npy", NPY), ("idx", IDX), ("kld", KLD), ("gguf", GGUF)):
        folder = FOLDER / kind
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
