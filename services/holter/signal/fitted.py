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
    "acmin": -0.2114,
    "acminL": -0.2884,
    "acmaxL": 0.1590,
    "llf": -1.7188,
    "lpp": 0.7635,
    "lppmin": 0.3925,
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
    "leakL": 0.0363,
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
BIAS = -9.7362
WEIGHTS = {
    "d_leak": (-0.0110, 0.0675, -0.2056),
    "d_count2": (0.0220, 0.0450, 1.2414),
    "d_slope": (-0.1310, 0.1916, 1.2548),
    "d_leakL": (-0.0166, 0.0719, -0.4179),
    "d_slopeL": (-0.0834, 0.1442, -0.3569),
    "d_p2.5_5": (0.0169, 0.1169, 0.4889),
    "d_acmin": (-0.0309, 0.1007, 0.0756),
    "d_acminL": (-0.0321, 0.1048, -0.5990),
    "d_acmaxL": (0.0385, 0.1760, -1.8300),
    "d_llf": (0.2971, 0.8327, 0.2564),
    "d_lpp": (0.0716, 0.3035, -0.3230),
    "d_lppmin": (0.0117, 0.2392, -0.1188),
    "d_unlike_median": (0.1873, 0.5391, -0.2158),
    "d_unlike_second": (0.1814, 0.5152, 0.0392),
    "d_unlike_best": (0.1543, 0.4459, -0.4251),
    "acmaxL": (0.2129, 0.2007, 2.2907),
    "unlike_median": (-2.8255, 0.5563, 0.0307),
    "unlike_second": (-2.9751, 0.5295, 0.2198),
    "unlike_best": (-3.1965, 0.4602, 0.7218),
    "foreign": (1.1030, 0.7388, 0.4800),
    "own": (2.3459, 1.1628, -1.0918),
    "moved": (0.3149, 0.2841, -0.2213),
    "quality": (0.6435, 0.2982, -0.5680),
}
"""Of each measure its mean, standard deviation and weight; they are collinear and only mean something together."""
