"""wire.c under the sanitizers (address, undefined behaviour) and the analyzer. The codec in Python
gives the expected results.
"""

import os
import subprocess
from pathlib import Path
from random import Random
from zlib import adler32

import pytest
from wire.vectors import BAD, GOOD, frame

from pywsgid.wire import protocol

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS = 10000
SEED = int(os.environ.get("WSGID_FUZZ_SEED", "20070414"))
ROUNDS = int(os.environ.get("WSGID_FUZZ", "1"))  # `make fuzz` runs more rounds


def of_bytes(data):
    return f" {len(data)}:{adler32(data):08x}"


def of_strings(block):
    count = block.count(b"\0")
    return f" {count}/{len(block) - count}"


def request_line(payload):
    request_id, sent, at, block, body = protocol.parse_request(payload)
    protocol.parse_environ(block)
    lines = "".join(of_bytes(protocol.parse_line(block, at, longest)) for longest in (0, 8, 239))
    return f"{request_id} {sent} {at}{of_bytes(block)}{of_strings(block)}{of_bytes(body)}{lines}"


def head_line(head):
    protocol.parse_head(head)
    return f"head{of_bytes(head)}{of_strings(head)}"


def response_line(payload):
    head, body = protocol.parse_response(payload)
    return head_line(head) + of_bytes(body)


LINES = {
    protocol.REQUEST: request_line,
    protocol.RESPONSE: response_line,
    protocol.INTERIM: head_line,
}


def line(side, data):
    """The answer that harness.c must give."""
    if len(data) < protocol.HEADER_SIZE:
        return "need"
    begin = ""
    try:
        type_, flags, length = protocol.parse_header(data, 0, side)
        if len(data) < protocol.HEADER_SIZE + length:
            return "need"
        begin = f"{type_} {flags} {length} "
        payload = data[protocol.HEADER_SIZE : protocol.HEADER_SIZE + length]
        return begin + LINES.get(type_, lambda payload: "plain" + of_bytes(payload))(payload)
    except protocol.RemoteProtocolError as error:
        return f"{begin}error {error.error}"


def assert_answers(sanitized, records):
    for record, answer in zip(records, sanitized(records), strict=True):
        assert answer == line(*record), record


def mutate(random, data):
    data = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(data) + 1)
        if random.random() < 0.6:
            data[at : at + 1] = bytes([random.choice((0, 1, 2, 4, 0xFF, random.randrange(256)))])
        else:
            data[at : at + random.randrange(4)] = random.randbytes(random.randrange(4))
    return bytes(data)


def test_every_vector_is_read_alike(sanitized):
    assert_answers(sanitized, [(vector.side, vector.data) for vector in GOOD + BAD])


def test_every_vector_from_the_other_side_is_read_alike(sanitized):
    assert_answers(sanitized, [(1 - vector.side, vector.data) for vector in GOOD + BAD])


def test_every_prefix_of_small_frames_is_read_alike(sanitized):
    small = [vector for vector in GOOD + BAD if len(vector.data) < 100]
    assert_answers(sanitized, [(v.side, v.data[:end]) for v in small for end in range(len(v.data))])


def test_payloads_cut_to_every_length_are_read_alike(sanitized):
    """As above, but the header agrees with what is left."""
    small = [vector for vector in GOOD if len(vector.data) < 100]
    cut = [
        (v.side, frame(v.type, v.flags, v.data[8:end]))
        for v in small
        for end in range(8, len(v.data))
    ]
    assert_answers(sanitized, cut)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_mutations_are_read_alike(sanitized, number):
    random = Random(SEED + number)
    small = [vector for vector in GOOD if len(vector.data) < 1000]
    records = []
    for _ in range(MUTATIONS):
        vector = random.choice(small)
        payload = mutate(random, vector.data[8:])
        whole = (
            frame(vector.type, vector.flags, payload)
            if random.random() < 0.7
            else mutate(random, vector.data)
        )
        records.append((vector.side, whole))
    assert_answers(sanitized, records)


def test_the_sanitizers_detect_an_overrun(gcc, tmp_path):
    """A harness that missed an overrun would prove nothing; this overrun is one byte."""
    program = tmp_path / "overrun"
    source = tmp_path / "overrun.c"
    source.write_text(
        '#include <stdlib.h>\n#include "common/wire.h"\n'
        "int main(void) { unsigned char *p = malloc(7); if (!p) return 2; p[0] = 1; "
        "return (int)wsgid_wire_get_u64(p) & 1; }\n"
    )
    gcc("-g", "-O0", "-fsanitize=address", source, ROOT / "apxs/common/wire.c", "-o", program)
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr


@pytest.mark.skipif(
    os.environ.get("WSGID_STRICT") != "1", reason="only with WSGID_STRICT=1, as .ci/run has it"
)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_the_analyzer_reports_nothing(gcc, tmp_path, level):
    gcc(
        level,
        "-fanalyzer",
        "-Wconversion",
        "-Wshadow",
        "-c",
        ROOT / "apxs/common/wire.c",
        "-o",
        tmp_path / "wire.o",
    )


def test_the_header_includes_what_it_needs(gcc, tmp_path):
    source = tmp_path / "alone.c"
    source.write_text(
        '#include "common/wire.h"\n#include "common/process_abi.h"\nint unused_here;\n'
    )
    gcc("-Wpedantic", "-c", source, "-o", tmp_path / "alone.o")
