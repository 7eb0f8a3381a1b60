"""Will two people's concurrent edits conflict when they are synchronised?"""

from models.contracts.product import (
    Column,
    Data,
    Folds,
    Gate,
    Guardrail,
    ModelProduct,
    Monitoring,
    TimeSplit,
    Trial,
)


def _count(name: str, description: str, nullable: bool = False) -> Column:
    return Column(name=name, kind="int", description=description, nullable=nullable, minimum=0)


def _share(name: str, description: str, nullable: bool = False) -> Column:
    return Column(name=name, description=description, nullable=nullable, minimum=0, maximum=1)


#: The five features the customer named, in that order; the baseline uses only these.
NAMED = (
    "concurrent_editors",
    "hours_since_last_sync",
    "user_conflict_rate",
    "entity_edit_frequency",
    "field_overlap_score",
)

COLUMNS = (
    _count("concurrent_editors", "Distinct people who edited either side since the last sync"),
    Column(name="hours_since_last_sync", minimum=0,
           description="Hours between the common base and this sync"),
    _share("user_conflict_rate",
           "Share of this person's earlier syncs, outcome known, that conflicted", nullable=True),
    Column(name="entity_edit_frequency", minimum=0,
           description="Mean edits of the touched files in the 90 days before"),
    _share("field_overlap_score", "Jaccard overlap of the files changed on both sides"),
    _count("user_past_merges", "This person's earlier syncs whose outcome was known"),
    _count("user_past_conflicts", "How many of those conflicted"),
    _count("tenant_past_merges", "The tenant's earlier syncs whose outcome was known"),
    _share("tenant_recent_conflict_rate",
           "Conflict share of the tenant's last 200 known outcomes", nullable=True),
    _share("editors_conflict_rate_mean", "Mean smoothed past conflict rate of all editors"),
    _share("editors_conflict_rate_max", "Highest smoothed past conflict rate of any editor"),
    _count("overlap_past_conflicts_sum", "Earlier conflicts in the overlapping files, summed"),
    _count("overlap_past_conflicts_max", "Earlier conflicts in the worst overlapping file"),
    _count("editors_ours", "Distinct editors on our side"),
    _count("editors_theirs", "Distinct editors on their side"),
    _count("editors_both_sides", "Editors active on both sides"),
    _count("commits_ours", "Commits on our side since the base"),
    _count("commits_theirs", "Commits on their side since the base"),
    _count("files_ours", "Files changed on our side"),
    _count("files_theirs", "Files changed on their side"),
    _count("files_overlap", "Files changed on both sides"),
    _share("overlap_share_theirs", "Overlapping files as a share of their files"),
    _share("directory_overlap_score", "Jaccard overlap of the directories changed on both sides"),
    Column(name="hours_since_tip_ours",
           description="Hours since our newest commit (negative when its clock was ahead)"),
    Column(name="hours_since_tip_theirs",
           description="Hours since their newest commit (negative when its clock was ahead)"),
    _count("merge_bases", "Number of merge bases"),
    _count("overlap_edits_sum", "Edits of the overlapping files in the 90 days before, summed"),
    _count("overlap_edits_max", "Edits of the busiest overlapping file in the 90 days before"),
    Column(name="theirs_edit_frequency", minimum=0,
           description="Mean edits of their files in the 90 days before"),
    _count("lines_overlap_ours", "Changed lines of ours in the overlapping files", nullable=True),
    _count("lines_overlap_theirs", "Changed lines of theirs in the overlapping files",
           nullable=True),
)  # fmt: skip

#: Syncs by a button that refuses conflicts teach little about those that may conflict. The weight,
#: like the boosting parameters, was chosen by cross-validation on the training rows.
WEIGHT = {"unjudged_weight": 0.2}
BOOSTING = {
    **{"rounds": 250, "depth": 5, "rate": 0.06, "rows": 0.8, "columns": 0.5, "min_weight": 2},
    **WEIGHT,
}

PRODUCT = ModelProduct(
    key="risk/sync_conflict",
    title="Probability that two people's concurrent edits will conflict",
    contract="row_scores",
    owner="team:sync",
    cadence="weekly",
    learner="models.risk.sync_conflict.learner:SyncConflictLearner",
    data=Data(
        features="features/risk/merges",
        columns=COLUMNS,
        split=TimeSplit(holdout=0.2, gap_hours=24),
        folds=Folds(kind="time", k=5),
    ),
    trials=(
        Trial(name="logistic_named", params={"model": "logistic", **WEIGHT}, columns=NAMED),
        Trial(name="logistic_all", params={"model": "logistic", **WEIGHT}),
        Trial(name="xgboost", params={"model": "xgboost", **BOOSTING}),
        Trial(name="xgboost_calibrated", params={"model": "xgboost", "folds": 5, **BOOSTING}),
    ),
    gate=Gate(
        metric="roc_auc",
        floor=0.75,
        guardrails=(
            Guardrail(metric="roc_auc", slice="slice_hard", max_loss=0.05, floor=0.65),
            Guardrail(metric="average_precision", slice="overall", max_loss=0.05),
            Guardrail(metric="brier", slice="overall", max_loss=0.05),
            Guardrail(metric="roc_auc", slice="tenant", max_loss=0.25),
        ),
    ),
    # a tenant merges about once an hour: a month is the shortest window that judges anything
    monitoring=Monitoring(window_hours=720),
)
