"""Selection: which N:M every layer gets, under a target for the whole model."""

from cimforge_sw.select.budget import Budget, Selection
from cimforge_sw.select.flow import MODES, PUBLISHED_CANDIDATES, flow, line_candidates
from cimforge_sw.select.flow_x import flow_x
from cimforge_sw.select.methods import Selector
from cimforge_sw.select.owl import owl
from cimforge_sw.select.request import METHODS, check_request, check_score
from cimforge_sw.select.uniform import uniform_mixes

__all__ = ["METHODS", "MODES", "PUBLISHED_CANDIDATES", "Budget", "Selection", "Selector",
           "check_request", "check_score", "flow", "flow_x", "line_candidates", "owl",
           "uniform_mixes"]
