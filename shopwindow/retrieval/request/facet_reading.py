from dataclasses import dataclass
@dataclass(frozen=True)
class Facet:
    column: str
def parse_facets(v): return ()
def check_facets(f, t): pass
