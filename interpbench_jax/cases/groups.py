"""Groups of built-in cases that the literature refers to."""

PAPER = frozenset("3 4 8 11 13 18 19 20 21 26 29 33 34 35 36 37".split())
"""The 16 cases of the main table of Gupta et al. 2024."""

PUBLISHED = frozenset(
    "2 3 4 7 8 11 13 14 15 18 19 20 21 24 25 26 29 30 31 33 34 35 36 37 39 40 41 43 44 45 46 49 50 "
    "51 52 53 54 55 56 58 60 62 63 64 65 66 67 68 69 70 71 72 73 75 77 79 80 82 83 84 85 86 87 90 "
    "91 93 95 97 101 102 103 104 105 106 110 111 113 114 121 122 123 124 129 130".split()
)
"""The 84 cases of which InterpBench published trained models."""
