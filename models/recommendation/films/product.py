"""Which films will this person like next?"""

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
from models.contracts.serving import Serving

#: What is known of a row and of a request alike (``models.core.ranking.watch``).
COLUMNS = (
    Column(name="user_past_interactions", kind="int", minimum=0,
           description="Earlier ratings of this person"),
    Column(name="item_past_interactions", kind="int", minimum=0,
           description="Earlier ratings of this film; of a request: of the first film answered"),
)  # fmt: skip

MEMBERS = ("itemknn", "ials", "ease", "svdpp", "content", "sasrec")

#: Tried on the validating ratings of MovieLens and of the generator, never on a holdout. Small,
#: because the data are: 12,000 to 100,000 ratings.
IALS = {"model": "ials", "factors": 32, "penalty": 0.01}
SVDPP = {"model": "svdpp", "factors": 32, "negatives": 4, "max_epochs": 20}
NEUMF = {"model": "neumf", "factors": 16, "max_epochs": 40, "learning_rate": 0.002,
         "held": "random"}  # fmt: skip
LIGHTGCN = {"model": "lightgcn", "factors": 32, "layers": 2, "max_epochs": 100,
            "batch_size": 1024, "learning_rate": 0.005}  # fmt: skip
SASREC = {"model": "sasrec", "width": 32, "layers": 1, "longest": 32, "negatives": 128,
          "max_epochs": 30, "batch_size": 64, "learning_rate": 0.005}  # fmt: skip

PRODUCT = ModelProduct(
    key="recommendation/films",
    title="Films that a person will like next",
    contract="ranked_items",
    owner="team:discovery",
    cadence="weekly",
    learner="models.recommendation.films.learner:FilmsLearner",
    data=Data(
        features="features/recommendation/films",
        columns=COLUMNS,
        tables=("features/recommendation/films_items",),
        # a rating is known when it is given: no gap
        split=TimeSplit(holdout=0.2, gap_hours=0),
        folds=Folds(kind="newest", k=8),
    ),
    trials=(
        Trial(name="popularity", params={"model": "popularity"}),
        Trial(name="itemknn", params={"model": "itemknn"}),
        Trial(name="ials", params=IALS),
        Trial(name="ease", params={"model": "ease"}),
        Trial(name="svdpp", params=SVDPP),
        # all it was told of counts, liked or not, so that the blend can take it
        Trial(name="content", params={"model": "content", "liked_only": False}),
        Trial(name="neumf", params=NEUMF),
        Trial(name="lightgcn", params=LIGHTGCN),
        Trial(name="sasrec", params=SASREC),
        Trial(name="blend", params={"model": "blend"}, after=MEMBERS),
    ),
    gate=Gate(
        metric="ndcg_at_10",
        # a ranking at random has 0.01, popularity alone 0.09 on generated and 0.12 on real ratings
        floor=0.06,
        # the error is 1 - nDCG, mostly what nobody can foresee: from nDCG 0.17 to 0.187, a tenth
        # better for the people who are asked, is 2 % of it
        min_effect=0.02,
        max_latency_ms=5.0,
        guardrails=(
            Guardrail(metric="recall_at_20", max_loss=0.03),
            Guardrail(metric="ndcg_at_10", slice="slice_cold", max_loss=0.05, floor=0.03),
            # lower is better: 1 is "nothing but the most popular"
            Guardrail(metric="popularity_at_10", max_loss=0.1),
            Guardrail(metric="catalogue.coverage_at_10", floor=0.1),
        ),
    ),
    # of two columns both must move; the first follows every new user
    monitoring=Monitoring(window_hours=168, drift_share=0.6),
    serving=Serving(cache_s=900),
)
