import io
import os
import pty
import re
import signal
import termios

import gymnasium
import pytest

from modules.envs.worlds.world import WorldSpec
from pipelines import play
from pipelines.config.hints import options
from pipelines.config.settings_page import kind_of
from pipelines.console.terminal import Screen, coloured, key_presses
from pipelines.play import main
from tests.pipelines.launch import run

BOTH = ("env=tour", "env.task=tmaze_both")
BEST = "eesee" + "eefee"  # to the left goal, from the start again to the right one


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def played(monkeypatch, capsys):
    """Return a function that plays `typed` and returns the frames."""

    def run(typed, *words):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main(words) == 0
        output = capsys.readouterr()
        assert output.err == ""
        return output.out.split("quits\n\n")[:-1]

    return run


@pytest.fixture
def terminal():
    """Open a pseudo-terminal: what a person types into, and what the program reads."""
    person, program = pty.openpty()
    with os.fdopen(program) as stream:
        yield person, stream
    os.close(person)


def test_an_optimal_episode_shows_actions_rewards_and_its_return(played):
    frames = played(f"{BEST}q", *BOTH)
    assert len(frames) == 1 + len(BEST)
    assert "time 0 of 20, goals left 2" in frames[0]
    assert "e forward, s left, f right; q " in frames[0]
    assert "action left, reward -0.1\n" in frames[3]
    assert "time 5 of 20, goals left 1" in frames[5]
    assert "action forward, reward 1\n" in frames[5]
    assert "action right, reward -0.1\n" in frames[8]
    assert "episode" not in frames[9]
    assert "action forward, reward 1\nepisode ended after 10 steps, return 1.2\n" in frames[10]
    assert "any key starts the next episode, q " in frames[10]


def test_any_key_starts_the_next_episode_and_does_nothing_else(played):
    frames = played(f"{BEST}se", *BOTH)
    assert "time 0 of 20, goals left 2" in frames[11]
    assert "action" not in frames[11]
    assert "time 1 of 20" in frames[12]
    assert len(frames) == 13  # the end of the keys ends it as q does


def test_running_out_of_time_is_told_from_the_goal(played):
    last = played("s" * 5, "env=tour", "env.task=tmaze_either")[-1]
    assert "episode ran out of time after 5 steps, return -0.6\n" in last


def test_q_quits_at_once_even_at_the_end_of_an_episode(played):
    assert len(played("qee", *BOTH)) == 1
    assert len(played(f"{BEST}qe", *BOTH)) == 11


def test_other_keys_do_nothing_and_case_and_line_ends_do_not_matter(played):
    frames = played("x\nE", *BOTH)
    assert "time 0 of 20" in frames[1]
    assert "'x' does nothing; e forward" in frames[1]
    assert "time 1 of 20" in frames[2]
    assert len(frames) == 3


def test_the_seed_chooses_the_maps_and_settings_are_those_of_training(played):
    words = ("env=tour", "env.task=ruin_2swamp")
    starts = [played("", *words, f"seed={seed}")[0].split("\n")[:5] for seed in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]
    assert "time 0 of 7," in played("", "+exp=tour", "env.max_time=7")[0]


def test_a_corridor_is_played_with_its_own_keys(played):
    spec = play.stage_for(["env=corridor", "env.task=L8g67"])[0]
    try_here, advance = ({action: key for key, action in spec.keys().items()}[action] for action in (0, 1))
    frames = played(advance * 8, "env=corridor", "env.task=L8g67")
    assert "episode ended after 8 steps, return 0\n" in frames[-1]
    tried = [played(advance * n + try_here, "env=corridor", "env.task=L8g67")[-1] for n in (6, 7)]
    assert sorted("return 1\n" in frame for frame in tried) == [False, True]


class Sign(gymnasium.Env):
    """Is drawn in characters only, and only one lives at a time; pays a fortune, and then a sum lost beside it."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012 - Gymnasium's own form
    observation_space, action_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2)
    alive = 0

    def __init__(self, render_mode=None):
        if Sign.alive:
            raise OSError(98, "Address already in use")
        Sign.alive, self.render_mode = Sign.alive + 1, render_mode

    def reset(self, *, seed=None, options=None):
        self.pay = [0.1, 1e16]
        return 0, {}

    def step(self, action):
        return 1, self.pay.pop(), False, False, {}

    def render(self):
        return "a sign"

    def close(self):
        Sign.alive -= 1


gymnasium.register("Sign-v0", Sign)


def test_what_cannot_be_filmed_can_be_played_alone(played):
    frames = played("01", "env=gym", "env.id=Sign-v0", "env.keep=null", "network/torso=mlp")
    assert "a sign\naction 0, reward 1e+16\n" in frames[1]
    assert "a sign\naction 1, reward 0.1\n" in frames[2]
    assert Sign.alive == 0


@pytest.mark.parametrize("name", ["memory_len", "passive_tmaze", "repeat_previous", "shower", "discounting_chain"])
def test_the_tiny_tasks_are_played_too(played, name):
    assert "time 1 of " in played("0d", f"env={name}")[-1]


def test_every_small_world_is_named_as_one_to_play():
    worlds = [option for group, option in options("env") if issubclass(kind_of(group, option), WorldSpec)]
    assert sorted(play.WITH_TEXT) == sorted(worlds)


def test_a_process_without_input_ends(tmp_path):
    ended = run("pipelines.play", *BOTH, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "time 0 of 20" in ended.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "env: this environment has no text view; say which to play: env=tour, env=corridor, "),
        (("env=tuor",), "env=tuor: no such option; did you mean env=tour?"),
        (("tour",), "did you mean env=tour or +exp=tour?"),
        (("env=tour", "env.task=ruin"), "env.task: it should be 'silent_ruin', "),
        (("env=tour", "env.sigt=3"), "did you mean env.sight"),
        (("env=tour", "env.sight=5"), "env.sight=5 must be smaller than the field"),
        (("env=tour", "env.goals=9", "env.walls=16", "env.task=ruin_1swamp"), "env.goals=9 and env.walls=16 need"),
        (("--task", "env=tour"), "--task: no such option"),
    ],
)
def test_bad_input_is_one_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    output = capsys.readouterr()
    assert (ended.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert output.err.startswith("error: ")
    assert sentence in output.err


def test_help_names_the_keys_and_settings(capsys):
    assert main(["--help"]) == 0
    assert "env.task=ruin_2swamp" in capsys.readouterr().out


def test_a_terminal_gives_single_keys_without_enter_and_ctrl_d_ends(terminal):
    person, stream = terminal
    with key_presses(stream) as pressed:
        os.write(person, b"e")
        assert next(pressed) == "e"
        os.write(person, b"\x04")
        assert list(pressed) == []


@pytest.mark.parametrize("way", ["end", "error", "interrupt", "SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"])
def test_the_terminal_is_restored_on_every_way_out(terminal, way):
    _, stream = terminal
    before = termios.tcgetattr(stream)
    handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    errors = {"end": (), "error": ValueError, "interrupt": KeyboardInterrupt}

    def inside():
        with key_presses(stream):
            during = termios.tcgetattr(stream)
            assert not during[3] & (termios.ICANON | termios.ECHO)
            if way.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, way))
            elif way != "end":
                raise errors[way]

    if way == "end":
        inside()
    else:
        with pytest.raises(errors.get(way, SystemExit)) as ended:
            inside()
        if way.startswith("SIG"):
            assert ended.value.code == 128 + getattr(signal, way)
    assert termios.tcgetattr(stream) == before
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_frames_replace_each_other_on_a_terminal_only():
    for stream, expected in (
        (Terminal(), "a\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[Jd\n"),
        (io.StringIO(), "a\nb\n\nc\n\nd\n\n"),
    ):
        screen = Screen(stream)
        for frame in ("a\nb", "c", "d"):
            screen.show(frame)
        assert stream.getvalue() == expected


def test_a_frame_wider_than_the_terminal_is_cut_and_says_so(monkeypatch):
    monkeypatch.setenv("LINES", "9")
    monkeypatch.setenv("COLUMNS", "40")
    for stream, expected in (
        (Terminal(), ["a" * 39 + "…", "b" * 40, "cut: needs 41 columns, has 40", "\x1b[3F\x1b[Jc"]),
        (io.StringIO(), ["a" * 41, "b" * 40, "", "c", ""]),
    ):
        screen = Screen(stream)
        screen.show("a" * 41 + "\n" + "b" * 40)
        screen.show("c")
        assert stream.getvalue().splitlines() == expected


def test_a_frame_higher_than_the_terminal_is_left_alone(monkeypatch):
    monkeypatch.setenv("LINES", "3")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    screen = Screen(stream)
    for frame in ("1\n2\n3", "4\n5", "6"):
        screen.show(frame)
    assert stream.getvalue() == "1\n2\n3\n4\n5\n\x1b[2F\x1b[J6\n"


def test_a_map_is_coloured_and_words_are_not():
    shown = coloured("##G^.\n>\ntime 3 of 20, goals left 2\n..==< 42\n")
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) == "##G^.\n>\ntime 3 of 20, goals left 2\n..==< 42\n"
    field, robot, words, scale, _ = shown.split("\n")
    assert field == "\x1b[90m##\x1b[0m\x1b[1;94mG\x1b[0m\x1b[1;93m^\x1b[0m\x1b[2m.\x1b[0m"
    assert robot == "\x1b[1;93m>\x1b[0m"
    assert words == "time 3 of 20, goals left 2"
    assert scale.endswith(" 42")
    own = "\x1b[43mTaxi\x1b[0m ##"
    assert coloured(own) == own


@pytest.mark.parametrize(("live", "refused", "expected"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colours_are_for_terminals_that_want_them(live, refused, expected, monkeypatch):
    monkeypatch.setenv("NO_COLOR", refused)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: live)
    Screen(stream).show("#.G")
    assert ("\x1b[90m" in stream.getvalue()) == expected
