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
BIAS = -9.4238
WEIGHTS = {
    "d_leak": (-0.0154, 0.0785, -0.3547),
    "d_count2": (0.0221, 0.0463, 1.2633),
    "d_slope": (-0.1284, 0.1925, 1.5495),
    "d_leakL": (-0.0203, 0.0815, -0.3016),
    "d_slopeL": (-0.0831, 0.1477, -0.6733),
    "d_p2.5_5": (0.0218, 0.1278, 0.5229),
    "d_acmin": (-0.0352, 0.1116, -0.1617),
    "d_acminL": (-0.0357, 0.1137, -0.4145),
    "d_acmaxL": (0.0435, 0.1820, -1.9121),
    "d_llf": (0.2764, 0.8265, 0.4065),
    "d_lpp": (0.0582, 0.3125, -0.4049),
    "d_lppmin": (0.0037, 0.2627, -0.1187),
    "d_unlike_median": (0.2090, 0.5943, -0.3448),
    "d_unlike_second": (0.2019, 0.5692, -0.0059),
    "d_unlike_best": (0.1743, 0.5007, -0.5436),
    "acmaxL": (0.2187, 0.2098, 2.4377),
    "unlike_median": (-2.8016, 0.6106, 0.1673),
    "unlike_second": (-2.9531, 0.5835, 0.4739),
    "unlike_best": (-3.1739, 0.5158, 0.7701),
    "foreign": (1.1503, 0.8074, 0.4190),
    "own": (2.3054, 1.1917, -1.2063),
    "moved": (0.3020, 0.2792, -0.2471),
    "quality": (0.6545, 0.2934, -0.3683),
}
"""Of each measure its mean, standard deviation and weight; they are collinear and only mean something together."""
