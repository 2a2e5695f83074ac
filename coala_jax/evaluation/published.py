"""Figures that the authors published, to stand beside ours. Numbers only.

Favory, Drossos, Virtanen, Serra: "COALA: Co-Aligned Autoencoders for Learning Semantically
Enriched Audio Representations" (arXiv:2006.08386), Tables 1 and 2, and the accuracies in the
repository that they released with it, https://github.com/xavierfav/coala (MIT), in
``results/performances.json``: ten runs of the classifier for each embedding and task.
"""

TASKS = {"urbansound8k": "UrbanSound8K", "gtzan": "GTZAN", "nsynth": "NSynth"}
CASES = {"mfcc": "MFCC", "ae_c": "AE-C", "e_c": "E-C", "cnn": "CNN"}
DESCRIPTORS = {
    "mfcc": "MFCCs",
    "chromagram": "Chromagram",
    "spectral_centroid": "Spectral centroid",
    "spectral_bandwidth": "Spectral bandwidth",
}
STATISTICS = ("mean", "var", "skew")

# Table 1: mean accuracy of ten runs, per cent.
ACCURACIES_PERCENT = {
    "urbansound8k": {"mfcc": 65.8, "ae_c": 72.7, "e_c": 72.5, "cnn": 48.4},
    "gtzan": {"mfcc": 49.8, "ae_c": 60.7, "e_c": 58.9, "cnn": 47.0},
    "nsynth": {"mfcc": 62.6, "ae_c": 73.1, "e_c": 69.5, "cnn": 56.4},
}
# The rest of Table 1: what the paper quotes from others, whose classifiers differ.
LITERATURE_PERCENT = {
    "urbansound8k": {"OpenL3": 78.2, "VGGish": 73.4, "DeepConv": 79.0, "rVGG": 70.7},
    "gtzan": {"rVGG": 59.7, "sampleCNN": 82.1},
    "nsynth": {"smallCNN": 73.8},
}

# Table 2: canonical correlation similarity, by descriptor and case; mean, var, skew.
CORRELATIONS = {
    "mfcc": {"ae_c": (0.84, 0.51, 0.42), "e_c": (0.58, 0.49, 0.39), "cnn": (0.73, 0.43, 0.32)},
    "chromagram": {
        "ae_c": (0.48, 0.37, 0.40),
        "e_c": (0.38, 0.36, 0.32),
        "cnn": (0.59, 0.33, 0.48),
    },
    "spectral_centroid": {
        "ae_c": (0.97, 0.87, 0.80),
        "e_c": (0.93, 0.82, 0.76),
        "cnn": (0.95, 0.76, 0.74),
    },
    "spectral_bandwidth": {
        "ae_c": (0.96, 0.86, 0.84),
        "e_c": (0.92, 0.82, 0.81),
        "cnn": (0.91, 0.72, 0.80),
    },
}

# The released accuracies of GTZAN and NSynth are these counts of right answers over the number of
# test clips, exactly; GTZAN's 289 are one fewer than its split lists.
RELEASED_TESTED = {"gtzan": 289, "nsynth": 4096}
RELEASED_RIGHT = {
    "gtzan": {
        "mfcc": (148, 142, 148, 142, 145, 143, 136, 144, 145, 146),
        "ae_c": (174, 178, 173, 173, 175, 182, 174, 171, 177, 178),
        "e_c": (176, 167, 166, 168, 165, 171, 170, 178, 174, 168),
        "cnn": (136, 134, 136, 138, 133, 137, 136, 137, 139, 131),
    },
    "nsynth": {
        "mfcc": (2585, 2541, 2582, 2548, 2653, 2613, 2531, 2551, 2514, 2505),
        "ae_c": (2986, 3044, 2970, 2997, 2955, 2906, 2958, 3040, 3089, 3008),
        "e_c": (2857, 2861, 2760, 2813, 2899, 2928, 2825, 2793, 2885, 2860),
        "cnn": (2312, 2269, 2337, 2291, 2338, 2325, 2323, 2295, 2347, 2268),
    },
}
# UrbanSound8K's are means over its ten folds, which differ in size, so no counts.
_URBANSOUND8K = {
    "mfcc": (
        0.65953056534913, 0.6562928428059176, 0.6613913858478113, 0.6610577730374745,
        0.6580475798682035, 0.6635486798632819, 0.6596530825917085, 0.6540812641395506,
        0.6549301602036656, 0.6544083130921428,
    ),
    "ae_c": (
        0.7242825639977657, 0.7268767320993522, 0.7265831669445824, 0.7242671932204212,
        0.7277294176107432, 0.7308544432504814, 0.7250561379229804, 0.7295483570312676,
        0.7283645627925285, 0.7244296820721031,
    ),
    "e_c": (
        0.724223300688471, 0.7276341768646244, 0.7256386926358809, 0.7206776216287415,
        0.7271710300631999, 0.7242396834069644, 0.7277861522102733, 0.7271983454339318,
        0.7252022318820237, 0.7248279670753645,
    ),
    "cnn": (
        0.4871428812223275, 0.48334422642768604, 0.48640508429944784, 0.48810669312270216,
        0.47800597482826845, 0.48124748362555164, 0.4776071196596492, 0.48256908436206725,
        0.48844441804987027, 0.4864919679642499,
    ),
}  # fmt: skip
RELEASED_ACCURACIES = {
    "urbansound8k": _URBANSOUND8K,
    **{
        task: {
            case: tuple(right / tested for right in RELEASED_RIGHT[task][case]) for case in CASES
        }
        for task, tested in RELEASED_TESTED.items()
    },
}
