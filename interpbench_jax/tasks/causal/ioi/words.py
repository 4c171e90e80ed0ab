"""Templates, names, places and objects of IOI sentences, written for this package.

A template ends where the indirect object follows. `{1}` and `{2}` are the two people in the order
in which they are introduced; `{S}` is the one who acts.
"""

TEMPLATES = (
    "Then {1} and {2} went to the {place} . {S} gave a {object} to",
    "When {1} and {2} met at the {place} , {S} handed a {object} to",
    "After {1} and {2} left the {place} , {S} sent a {object} to",
    "While {1} and {2} waited in the {place} , {S} showed the {object} to",
    "{1} and {2} had a long day at the {place} . {S} brought a {object} to",
    "The friends {1} and {2} walked to the {place} , where {S} gave a {object} to",
    "Yesterday {1} saw {2} at the {place} , and {S} offered a {object} to",
    "At the {place} , {1} talked to {2} for an hour before {S} passed the {object} to",
    "{1} met {2} near the {place} . {S} threw a {object} to",
    "Once {1} and {2} were inside the {place} , {S} quietly lent a {object} to",
)

NAMES = (
    *("Adam", "Alan", "Alex", "Alice", "Amy", "Anna", "Ben", "Carl", "Chris", "Clara", "Dan"),
    *("David", "Emma", "Eric", "Frank", "Grace", "Helen", "Henry", "Jack", "James", "Jane"),
    *("John", "Kate", "Laura", "Lisa", "Mark", "Mary", "Nick", "Paul", "Peter", "Robert"),
    *("Rose", "Ruth", "Sam", "Sarah", "Simon", "Susan", "Tom"),
)

PLACES = ("school", "store", "office", "park", "library", "station", "hotel", "museum")

OBJECTS = ("book", "letter", "ticket", "ring", "key", "drink", "flower", "coin")
