"""What a case is about, from its studies and the words of its application: for the routing table. Pure."""

from collections.abc import Iterable, Mapping, Sequence

BODY_PARTS: Mapping[str, tuple[str, ...]] = {
    "HEAD": ("HEAD", "BRAIN", "SKULL", "HEADNECK", "ORBIT", "SINUS", "PARANASALSINUS", "FACE", "JAW", "TEMPORALBONE"),
    "NECK": ("NECK", "THYROID", "LARYNX", "CAROTID", "HEADNECK"),
    "CHEST": ("CHEST", "LUNG", "THORAX", "RIB", "STERNUM", "MEDIASTINUM", "CHESTABDOMEN"),
    "HEART": ("HEART", "CARDIAC", "CORONARYARTERY", "AORTA"),
    "BREAST": ("BREAST",),
    "ABDOMEN": (
        "ABDOMEN", "LIVER", "KIDNEY", "PANCREAS", "STOMACH", "GALLBLADDER", "SPLEEN", "ABDOMENPELVIS",
        "CHESTABDOMEN", "COLON", "ESOPHAGUS",
    ),
    "PELVIS": ("PELVIS", "BLADDER", "PROSTATE", "UTERUS", "RECTUM", "ABDOMENPELVIS"),
    "SPINE": ("SPINE", "CSPINE", "TSPINE", "LSPINE", "LUMBAR", "SSPINE", "COCCYX", "WHOLESPINE"),
    "UPPEREXTREMITY": (
        "SHOULDER", "CLAVICLE", "SCAPULA", "HUMERUS", "ARM", "ELBOW", "FOREARM", "WRIST", "HAND", "FINGER", "THUMB",
        "UPPEREXTREMITY",
    ),
    "LOWEREXTREMITY": (
        "HIP", "FEMUR", "THIGH", "KNEE", "PATELLA", "LEG", "TIBIA", "ANKLE", "FOOT", "TOE", "CALCANEUS",
        "LOWEREXTREMITY", "EXTREMITY",
    ),
}  # fmt: skip
"""The portal's groups, and the values of Body Part Examined (0018,0015) that each means (PS3.16 Annex L)."""
WORDS: Mapping[str, tuple[str, ...]] = {
    "HEAD": ("头", "颅", "脑", "眼眶", "鼻窦", "颞骨"),
    "NECK": ("颈部", "甲状腺", "喉"),
    "CHEST": ("胸部", "胸片", "肺", "纵隔"),
    "HEART": ("心脏", "冠脉", "冠状动脉", "主动脉"),
    "BREAST": ("乳腺", "钼靶"),
    "ABDOMEN": ("腹", "肝", "胰", "脾", "肾", "胆"),
    "PELVIS": ("盆腔", "前列腺", "子宫", "膀胱", "直肠"),
    "SPINE": ("脊柱", "颈椎", "胸椎", "腰椎", "骶"),
    "UPPEREXTREMITY": ("肩", "肘", "腕", "手", "肱骨", "前臂"),
    "LOWEREXTREMITY": ("髋", "膝", "踝", "足", "股骨", "胫", "小腿"),
}
"""How examination items name them, where the studies do not say."""
SUBSPECIALTIES: Mapping[str, str] = {
    "HEAD": "neuro",
    "SPINE": "neuro",
    "HEART": "cardiac",
    "BREAST": "breast",
    "CHEST": "chest",
    "ABDOMEN": "abdomen",
    "PELVIS": "urogenital",
    "UPPEREXTREMITY": "musculoskeletal",
    "LOWEREXTREMITY": "musculoskeletal",
}
"""Whose a body part is when the applicant names no sub-specialty; the first of these that the case has."""


def groups_of(values: Iterable[str]) -> frozenset[str]:
    """The groups that these body parts belong to; a group is its own."""
    said = {value.upper().replace(" ", "").replace("_", "") for value in values}
    return frozenset(group for group, parts in BODY_PARTS.items() if group in said or said & set(parts))


def group_of(value: str) -> str:
    """One body part of a table's row as a group; one that is in none stays as it is, and fits nothing else."""
    found = sorted(groups_of([value])) if value else []
    return value if value in BODY_PARTS or not found else found[0]


def named_in(items: Sequence[str]) -> frozenset[str]:
    """The groups that examination items name in words."""
    text = " ".join(items)
    return frozenset(group for group, words in WORDS.items() if any(word in text for word in words))


def subspecialty_of(modalities: Iterable[str], body_parts: Iterable[str]) -> str:
    """Empty: it cannot be told."""
    if "MG" in modalities:
        return "breast"
    parts = set(body_parts)
    return next((special for group, special in SUBSPECIALTIES.items() if group in parts), "")
