"""A workspace and a report of W&B, generated from the table of metrics that the parts declare."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from modules.errors import told
from modules.metrics import Metric
from modules.plots.runs import SCORE_METRIC
from modules.spec import Spec, UsageError, spec
from pipelines.config.metrics_page import known
from pipelines.config.settings import parse
from pipelines.console.output import write

USAGE = """python -m pipelines.dashboard wandb project=NAME [entity=NAME]
  project=NAME     of W&B, where runs were logged or uploaded (required)
  entity=NAME      user or team; your own account if it is left out
Makes a workspace and a report in your W&B account, and writes their addresses."""
TITLE = "Recall"
FRAMES, GROUP = "frames", "Group"  # W&B's word for what a sweep's seeds have in common
MEDIA = ("learning_curve", "arms", "visits", "video")  # what a run shows besides numbers
FIRST = (SCORE_METRIC, "train/return_mean", "eval/length_mean", "perf/frames_per_s")  # of a report
MISSING = "a workspace of W&B needs wandb-workspaces: pip install 'recall-rl[dashboard]'."


@spec
class Pages(Spec):
    """Where W&B's pages are made."""

    project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")]
    entity: Annotated[str, Field(pattern=r"^[\w-]+$")] | None


def create(words: Sequence[str]) -> None:
    """Make a workspace and a report in the user's account.

    Raises:
        UsageError: settings that are not allowed, a missing extra, no login, or W&B refused.
    """
    settings = parse(Pages, {"entity": None}, words, USAGE)
    import_pages()
    from modules.loggers.wandb import default_entity  # slow import

    entity = default_entity() if settings.entity is None else settings.entity
    for make in (workspace, report):
        page = make(entity, settings.project, known())
        try:
            page.save()
        except Exception as error:  # of many kinds: the network's, the server's
            raise UsageError(f"project={settings.project}: W&B refused the {make.__name__} ({told(error)}).") from error
        write(f"{page.url}\n")


def import_pages() -> tuple[Any, Any]:
    """Import what makes workspaces and reports; raises `UsageError` if it is not there."""
    try:
        import wandb_workspaces.reports.v2 as reports  # pyright: ignore[reportMissingImports] - an extra
        import wandb_workspaces.workspaces as workspaces  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise UsageError(MISSING) from error
    return workspaces, reports


def workspace(entity: str, project: str, metrics: Mapping[str, Metric]) -> Any:
    """Make a view of a project with a section for each group of metrics, over frames, its runs grouped by variant."""
    workspaces, reports = import_pages()
    groups = dict.fromkeys(name.partition("/")[0] for name in metrics)
    order = ("eval", *(group for group in groups if group != "eval"))
    sections = [
        workspaces.Section(
            name=group,
            panels=[curve(reports, metric) for name, metric in metrics.items() if name.partition("/")[0] == group],
            is_open=group in ("eval", "train"),
        )
        for group in order
    ]
    media = workspaces.Section(name="pictures", panels=[pictures(reports)], is_open=True)
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=[sections[0], media, *sections[1:]],
        settings=workspaces.WorkspaceSettings(x_axis=FRAMES, max_runs=20),
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Metric(GROUP)]),
    )


def report(entity: str, project: str, metrics: Mapping[str, Metric]) -> Any:
    """Make a report of a project: score and pace by variant, mean and range over seeds, then pictures."""
    _, reports = import_pages()

    def grid(panels: list[Any]) -> Any:
        runs = reports.Runset(groupby=[GROUP])  # of the report's own project
        return reports.PanelGrid(runsets=[runs], panels=panels)

    shown = [curve(reports, metrics[name]) for name in FIRST]
    return reports.Report(
        entity=entity,
        project=project,
        title=TITLE,
        description="Variants of a sweep side by side: mean and range over seeds.",
        blocks=[
            reports.H1("Returns and speed"),
            reports.UnorderedList([f"{name} [{metrics[name].unit}]: {metrics[name].meaning}" for name in FIRST]),
            grid(shown),
            reports.H1("Pictures and films"),
            grid([pictures(reports)]),
        ],
    )


def curve(reports: Any, metric: Metric) -> Any:
    """Make a panel of one metric over frames."""
    return reports.LinePlot(
        title=metric.name,
        x=FRAMES,
        y=[metric.name],
        title_x="frames",
        title_y=metric.unit,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def pictures(reports: Any) -> Any:
    """Make a panel of pictures and films."""
    return reports.MediaBrowser(media_keys=list(MEDIA), num_columns=2)
