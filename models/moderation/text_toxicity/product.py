"""Should a moderator look at what somebody wrote, and for what?"""

from models.contracts.product import (
    Data,
    Folds,
    Gate,
    Guardrail,
    ModelProduct,
    Monitoring,
    TimeSplit,
    Trial,
)
from models.contracts.serving import Serving
from models.core.text.describe import COLUMNS
from models.core.text.taxonomy import LABELS

#: Posts have 30 tokens on average: 64 cut few, and padding costs where they are shorter.
#: More than 20,000 texts are left to who has a GPU: these are half an hour of two cores.
SIZE = {"max_length": 64, "max_rows": 20_000}
#: Two passes, and a cosine that ends with them.
TUNING = {
    **SIZE,
    **{"max_epochs": 2, "patience": 2, "batch_size": 32, "learning_rate": 1e-4},
    **{"schedule": "cosine", "warmup": 0.1},
}
FP32 = {"model": "onnx", "precision": "fp32"}
#: Constant scales: as near to fp32 as scales made per text, and texts may be asked together.
INT8 = {"model": "onnx", "precision": "int8_fixed"}

PRODUCT = ModelProduct(
    key="moderation/text_toxicity",
    title="Probability that a text is toxic, hateful or offensive, by kind",
    contract="text_labels",
    owner="team:trust",
    cadence="weekly",
    learner="models.moderation.text_toxicity.learner:TextToxicityLearner",
    data=Data(
        features="features/moderation/comments",
        columns=COLUMNS,
        labels=LABELS,
        split=TimeSplit(holdout=0.2, gap_hours=24),
        folds=Folds(kind="newest", k=10),
    ),
    trials=(
        Trial(name="tfidf_linear", params={"model": "tfidf_linear"}),
        Trial(name="minilm", params={"model": "transformer", **TUNING}),
        Trial(name="minilm_onnx", params=FP32, after=("minilm",), form=True),
        Trial(name="minilm_int8", params=INT8, after=("minilm",), form=True),
        Trial(name="student", params={"model": "student", "layers": 3, **TUNING},
              after=("minilm",)),
        Trial(name="student_onnx", params=FP32, after=("student",), form=True),
        Trial(name="student_int8", params=INT8, after=("student",), form=True),
        Trial(name="ensemble", params={"model": "ensemble", **SIZE},
              after=("minilm", "student")),
        Trial(name="ensemble_onnx", params=FP32, after=("ensemble",), form=True),
        Trial(name="ensemble_int8", params=INT8, after=("ensemble",), form=True),
    ),
    gate=Gate(
        metric="roc_auc",
        floor=0.78,
        max_latency_ms=60,
        max_size_mb=300,
        guardrails=(
            Guardrail(metric="macro_f1", max_loss=0.05),
            Guardrail(metric="brier", max_loss=0.05),
            Guardrail(metric="roc_auc", slice="slice_identity", max_loss=0.1, floor=0.65),
            # harmless mentions of a group against others' attacks: the known bias of such models
            Guardrail(metric="roc_auc", slice="bpsn_identity_women", max_loss=0.1, floor=0.65),
            Guardrail(metric="roc_auc", slice="bpsn_identity_muslim", max_loss=0.1, floor=0.65),
            Guardrail(metric="roc_auc", slice="bpsn_identity_lgbt", max_loss=0.1, floor=0.65),
            Guardrail(metric="attack.typo", floor=0.65),
            Guardrail(metric="attack.leet", floor=0.6),
        ),
    ),
    monitoring=Monitoring(window_hours=24),
    # a text goes through a network, word by word where reasons are asked for
    serving=Serving(max_rows=256, timeout_s=30, cache_s=900),
)  # fmt: skip
