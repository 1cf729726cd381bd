"""The nouns of the rulebook, without any rule of matching.

Reading order: `enums` (the closed lists of words), `fields` (what one field may hold), `commands`
(what a participant wants), `order` (an order and its lifecycle).

From outside import enums and commands from the package's root; `Order` is the engine's own.
"""
