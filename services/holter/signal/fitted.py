"""Constants of the VT/VF score, from `python -m holter.evaluate.lethal MITDB VFDB NSTDB`; not for editing.

Records: 101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230,
418, 419, 420, 421, 422, 424, 426, 428, 430, 605, 607.
"""

POPULATION = {
    "leak": 0.7571,
    "count2": 0.2620,
    "slope": 0.8275,
    "leakL": 0.6974,
    "slopeL": 0.6290,
    "p2.5_5": 0.2375,
    "acmin": -0.2109,
    "acminL": -0.2884,
    "acmaxL": 0.1590,
    "llf": -1.7188,
    "lpp": 0.7635,
    "lppmin": 0.3926,
    "unlike_median": -3.0575,
    "unlike_second": -3.2017,
    "unlike_best": -3.4172,
    "lrr": -0.2971,
}
"""Means that a patient begins with."""
REACH = {
    "leak": 0.0466,
    "count2": 0.0267,
    "slope": 0.0678,
    "leakL": 0.0364,
    "slopeL": 0.0695,
    "p2.5_5": 0.0745,
    "acmin": 0.0662,
    "acminL": 0.0811,
    "acmaxL": 0.1155,
    "llf": 0.8999,
    "lpp": 0.1833,
    "lppmin": 0.2686,
    "unlike_median": 0.4448,
    "unlike_second": 0.4025,
    "unlike_best": 0.2921,
    "lrr": 0.1081,
}
"""How far from the own mean a second may pull it."""
BIAS = -9.4813
WEIGHTS = {
    "d_leak": (-0.0154, 0.0785, -0.3470),
    "d_count2": (0.0219, 0.0463, 1.2923),
    "d_slope": (-0.1267, 0.1923, 1.5641),
    "d_leakL": (-0.0203, 0.0815, -0.3042),
    "d_slopeL": (-0.0825, 0.1477, -0.6791),
    "d_p2.5_5": (0.0219, 0.1278, 0.5302),
    "d_acmin": (-0.0352, 0.1116, -0.1464),
    "d_acminL": (-0.0357, 0.1136, -0.4484),
    "d_acmaxL": (0.0435, 0.1819, -1.9471),
    "d_llf": (0.2762, 0.8259, 0.4030),
    "d_lpp": (0.0576, 0.3124, -0.3990),
    "d_lppmin": (0.0036, 0.2626, -0.1228),
    "d_unlike_median": (0.2076, 0.5938, -0.3784),
    "d_unlike_second": (0.2007, 0.5689, -0.0153),
    "d_unlike_best": (0.1736, 0.5006, -0.5661),
    "acmaxL": (0.2187, 0.2098, 2.4561),
    "unlike_median": (-2.8013, 0.6103, 0.1980),
    "unlike_second": (-2.9526, 0.5833, 0.4701),
    "unlike_best": (-3.1738, 0.5159, 0.8071),
    "foreign": (1.1502, 0.8075, 0.3876),
    "own": (2.3055, 1.1916, -1.2448),
    "moved": (0.3015, 0.2785, -0.3059),
    "quality": (0.6672, 0.2843, -0.3413),
}
"""Of each measure its mean, standard deviation and weight; they are collinear and only mean something together."""
