"""Annotated CSV, Flux text, layouts' decoding and the choice of windows: the pure parts of the InfluxDB store."""

import numpy as np
import pytest

from holter.chunk import Chunk
from holter.store import flux, lines, pcm
from holter.store.layouts import LAYOUTS
from holter.store.rows import QueryFailedError, Table, tables
from holter.store.sampling import choose, union

ANSWER = (
    "#datatype,string,long,dateTime:RFC3339,double,string\r\n"
    ",result,table,_time,_value,device_id\r\n"
    ",,0,2024-01-01T00:00:00.004Z,1.5,a\r\n"
    ",,1,2024-01-01T00:00:00Z,,b\r\n"
    "\r\n"
    "#datatype,string,long,dateTime:RFC3339,string,boolean\r\n"
    ",result,table,_time,_value,flagged\r\n"
    ',,2,1969-12-31T23:59:59.999999999Z,"say ""x"", then\r\na line",true\r\n'
)


def test_blocks_become_tables_of_columns():
    numbers, texts = tables(ANSWER)
    assert numbers.times().tolist() == [1_704_067_200_004_000_000, 1_704_067_200_000_000_000]
    np.testing.assert_array_equal(numbers.floats("_value"), [1.5, np.nan])
    assert numbers.texts("device_id") == ("a", "b")
    assert texts.texts("_value") == ('say "x", then\na line',)
    assert texts.times().tolist() == [-1]
    assert texts.truths("flagged").tolist() == [True]
    assert (texts.texts("none"), texts.integers("none").tolist(), texts.truths("none").tolist()) == (
        ("",),
        [0],
        [False],
    )
    assert np.isnan(texts.floats("none")).all()
    assert list(tables("")) == []
    assert list(tables("\r\n")) == []


@pytest.mark.parametrize(
    "error",
    [
        "error,reference\r\nout of memory,897\r\n",
        ",error,reference\r\n,out of memory,897\r\n",
        "#datatype,string,string\r\n,error,reference\r\n,out of memory,\r\n",
    ],
)
@pytest.mark.parametrize("before", ["", ANSWER + "\r\n"])
def test_an_error_after_good_rows_is_an_error(before, error):
    with pytest.raises(QueryFailedError, match="out of memory"):
        list(tables(before + error))


def test_flux_text_cannot_be_left():
    assert flux.text('a"b\\c${d}\n\r\t') == '"a\\"b\\\\c\\x24{d}\\n\\r\\t"'
    assert (
        flux.any_of("device_id", ["a", 'b" or true']) == '(r["device_id"] == "a" or r["device_id"] == "b\\" or true")'
    )
    assert flux.in_shards(range(64)) == "true"
    assert flux.in_shards([3, 1, 3]) == '(r["shard"] == "1" or r["shard"] == "3")'
    assert flux.select("b", "m", 1, None, "true").endswith(
        '|> range(start: time(v: 1)) |> filter(fn: (r) => (r["_measurement"] == "m"))'
    )


def signal(*chunks: Chunk, without: int = -1) -> list[Table]:
    points = [(c, i, t) for c in chunks for i, t in enumerate(lines.sample_times(c.t0, c.fs, len(c.samples)))]
    points = [point for n, point in enumerate(points) if n != without]
    heads = {
        "device_id": tuple(c.device_id for c in chunks),
        "_field": ("chunk",) * len(chunks),
        "_time": tuple(f"{np.datetime64(c.t0 * 1000, 'ns')}Z" for c in chunks),
        "_value": tuple(f"{len(c.samples)} {round(c.fs * 1000)} {c.seq} {c.flags} {c.arrived}" for c in chunks),
    }
    voltages = {
        "device_id": tuple(c.device_id for c, _, _ in points),
        "_field": ("voltage",) * len(points),
        "_time": tuple(f"{np.datetime64(t, 'ns')}Z" for _, _, t in points),
        "_value": tuple(repr(int(c.samples[i]) / 1000) for c, i, _ in points),
    }
    return [Table(voltages, len(points)), Table(heads, len(chunks))]


def test_samples_become_their_chunks_again_and_half_written_ones_wait():
    first = Chunk("a", 0, 333.333, np.arange(-100, 100, dtype=np.int16), 5, 1, 123)
    second = Chunk("a", 700_000, 250.0, np.arange(50, dtype=np.int16), 6)
    elsewhere = Chunk("b", 0, 250.0, np.arange(9, dtype=np.int16))
    decode = LAYOUTS["Samples"].decode
    found = decode(signal(second, elsewhere, first))
    assert [(c.device_id, c.t0, c.fs, c.seq, c.flags, c.arrived, c.checksum()) for c in found] == [
        (c.device_id, c.t0, c.fs, c.seq, c.flags, c.arrived, c.checksum()) for c in (first, elsewhere, second)
    ]
    assert [(c.device_id, c.t0) for c in decode(signal(first, second, without=199))] == [("a", 700_000)]
    assert [(c.device_id, c.t0) for c in decode(signal(first, second, without=249))] == [("a", 0)]
    assert decode(signal(first)[1:]) == []


def test_a_chunk_that_somebody_else_wrote_wrong_hides_no_other():
    good = pcm.encode(Chunk("b", 0, 250.0, np.array([5], np.int16), 7))
    columns = {
        "device_id": ("a", "b"),
        "_time": ("2024-01-01T00:00:00Z",) * 2,
        "_value": ("nonsense", good),
    }
    (found,) = LAYOUTS["Chunks"].decode([Table(columns, 2)])
    assert (found.device_id, found.seq, found.fs, found.samples.tolist()) == ("b", 7, 250.0, [5])
    voltages, heads = signal(Chunk("a", 0, 250.0, np.ones(9, np.int16)), Chunk("b", 0, 250.0, np.ones(9, np.int16)))
    wrong = Table(heads.columns | {"_value": ("9 250000 0 0", heads.columns["_value"][1])}, 2)
    assert [c.device_id for c in LAYOUTS["Samples"].decode([voltages, wrong])] == ["b"]


def test_the_choice_of_windows_is_even_and_by_seed_alone():
    ends = np.arange(10_000, dtype=np.int64) * 5_000_000
    first = choose(ends, 1000, seed=1)
    np.testing.assert_array_equal(first, choose(ends, 1000, seed=1))
    assert len(np.unique(first)) == 1000
    assert len(np.intersect1d(first, choose(ends, 1000, seed=2))) < 200
    assert np.histogram(first, bins=10, range=(0, 10_000))[0].min() > 12
    # A part of the history chooses what the whole would have, as far as it has it.
    assert set(choose(ends, 10, seed=1)) <= set(first)
    assert choose(ends[:5], 5, seed=1).tolist() == [0, 1, 2, 3, 4]
    assert len(choose(ends, 3, seed=-1)) == 3
    assert union([("a", "b"), ("b", "c")]) == ("a", "b", "c")
