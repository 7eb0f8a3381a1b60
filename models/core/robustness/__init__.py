"""How far a model can be trusted off the beaten track: attacks, strange inputs, shift.

Belongs here: gradient attacks (``gradient``, ``logistic``), out-of-distribution scores (``ood``),
disturbed columns (``perturbations``), shift between two samples (``shift``), and their measures for
rows (``rows``). Does not belong here: rewritten texts (``models.core.text.attacks``).
"""
