import numpy as np

from modules.plots.runs import read_metric, read_table


def test_measured_skips_gaps_and_keeps_the_last_value_at_equal_frames(tmp_path):
    rows = "10,1.0,\n20,inf,5.0\n20,2.0,\n20,3.0,6.0\n30,nan,\n"
    (tmp_path / "metrics.csv").write_text("frames,a,b\n" + rows)
    table = read_table(tmp_path / "metrics.csv")
    np.testing.assert_array_equal(read_metric(table, "a"), [[10, 20], [1, 3]])
    np.testing.assert_array_equal(read_metric(table, "b"), [[20], [6]])
    assert read_metric(table, "unknown")[0].size == 0


def test_read_table_is_exact(tmp_path):
    value = 0.1 + 0.2
    (tmp_path / "metrics.csv").write_bytes(f"frames,a\r\n1,{value!r}\r\n".encode())
    assert read_table(tmp_path / "metrics.csv")["a"][0] == value
