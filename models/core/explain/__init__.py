"""Why a model answered as it did, for one text or one row, in one form: `Explanation`.

Belongs here: LIME (``lime``), Shapley values (``shapley``, ``trees``), integrated gradients
(``gradients``), attention (``attention``), each written for parts that are kept or left out, and
which of them explains a text or a row (``texts``, ``rows``). Does not belong here: importance over
many rows (``Saved.importance``), HTTP.
"""
