"""What is spoken of, without any rule: the nouns of the market.

Reading order: `enums` (the words of the trade), `commands` (what a participant wants), `event`
(what every event carries), `order` (the life of an order). The events themselves are in
`engine/events.py`. From outside, import all of them from the package's root.
"""
