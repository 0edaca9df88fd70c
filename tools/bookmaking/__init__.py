"""How `make book` makes the website: labs that run, chapters of them, Sphinx, and a last look.

`runs` runs each lab's notebooks with their answers, on a fresh cluster of its own, side by side.
`chapters` makes a page of a notebook that ran, its answers folded; `estimate` computes how long it
takes; `coverage` says which lab practises which topic, claim and fault; `reference` lists what
notebooks use. `stage` puts these pages beside those of ``book/``, and when Sphinx is done `built`
looks at the result: links, anchors, alt texts, nothing from outside.
"""
