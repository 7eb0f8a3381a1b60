"""The maths that products and stages share: metrics, gates, splits, checks, artifacts."""
