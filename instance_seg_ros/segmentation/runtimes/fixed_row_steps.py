"""Functions of standard ONNX operators that `with_fixed_rows` calls, which give as many rows whatever is found."""

from __future__ import annotations

from string import Template

import onnx
from onnx import parser

DOMAIN = "instance_seg_ros"
OLDEST_OPSET = 16
"""Of the operators that are used, GridSample came last."""
LARGEST_TABLE = 5000
"""Candidates of which all pairs are looked at: the best ones, where there are more. The class scores of a proposal add
up to 1, so those of 0.2 and more of 1,000 proposals are all among them."""
_LOWEST = -3.0e38
"""Below every score."""

_TEXTS = {
    "EveryRow": """(mask) => (rows)
zero = Constant <value = int64 {0}> ()
one = Constant <value = int64 {1}> ()
line = Constant <value = int64[2] {1, -1}> ()
shape = Shape (mask)
count = Gather <axis = 0> (shape, zero)
places = Range (zero, count, one)
rows = Reshape (places, line)
""",
    "ScoreOrNone": """(scores, mask) => (marked)
gone = Constant <value = float {$lowest}> ()
marked = Where (mask, scores, gone)
""",
    "OfFirstLevel": """(mask, rows) => (chosen)
sides = Constant <value = int64[4] {-1, 1, 1, 1}> ()
nothing = Constant <value = float {0.0}> ()
is_of_level = Reshape (mask, sides)
chosen = Where (is_of_level, rows, nothing)
""",
    "OfLevel": """(others, mask, rows) => (chosen)
sides = Constant <value = int64[4] {-1, 1, 1, 1}> ()
is_of_level = Reshape (mask, sides)
chosen = Where (is_of_level, rows, others)
""",
    # Rows of a number that is the number of rows there are, so none of them, are zeros.
    "RowOrZeros": """(data, rows) => (taken)
first_place = Constant <value = int64[1] {0}> ()
first = Gather <axis = 0> (data, first_place)
zeros = Sub (first, first)
longer = Concat <axis = 0> (data, zeros)
taken = Gather <axis = 0> (longer, rows)
""",
    # Greedy suppression of K boxes, best first: a box stays where none that stays before it overlaps it. Beginning with
    # all, each round settles the boxes whose answer hangs on one more choice; what no round changes is the answer.
    "TableSuppression": """(boxes, scores, iou_threshold) => (kept)
zero = Constant <value = int64 {0}> ()
one = Constant <value = int64 {1}> ()
two = Constant <value = int64 {2}> ()
three = Constant <value = int64 {3}> ()
vector = Constant <value = int64[1] {-1}> ()
column = Constant <value = int64[2] {-1, 1}> ()
line = Constant <value = int64[2] {1, -1}> ()
box_rows = Constant <value = int64[2] {-1, 4}> ()
most = Constant <value = int64[1] {$largest_table}> ()
rows = Constant <value = int64[1] {$rows}> ()
gone = Constant <value = float {$lowest}> ()
half = Constant <value = float {0.5}> ()
nothing = Constant <value = float {0.0}> ()
yes = Constant <value = bool {1}> ()

all_scores = Reshape (scores, vector)
all_corners = Reshape (boxes, box_rows)
all_count = Shape (all_scores)
count = Min (all_count, most)
best, places = TopK <axis = 0, largest = 1, sorted = 1> (all_scores, count)
corners = Gather <axis = 0> (all_corners, places)
a = Gather <axis = 1> (corners, zero)
b = Gather <axis = 1> (corners, one)
c = Gather <axis = 1> (corners, two)
d = Gather <axis = 1> (corners, three)
x0 = Min (a, c)
y0 = Min (b, d)
x1 = Max (a, c)
y1 = Max (b, d)
width = Sub (x1, x0)
height = Sub (y1, y0)
area = Mul (width, height)
x0_before = Reshape (x0, column)
y0_before = Reshape (y0, column)
x1_before = Reshape (x1, column)
y1_before = Reshape (y1, column)
area_before = Reshape (area, column)
shared_x0 = Max (x0_before, x0)
shared_y0 = Max (y0_before, y0)
shared_x1 = Min (x1_before, x1)
shared_y1 = Min (y1_before, y1)
shared_width = Sub (shared_x1, shared_x0)
shared_height = Sub (shared_y1, shared_y0)
has_width = Greater (shared_width, nothing)
has_height = Greater (shared_height, nothing)
has_area = And (has_width, has_height)
shared_area = Mul (shared_width, shared_height)
areas = Add (area_before, area)
union = Sub (areas, shared_area)
iou = Div (shared_area, union)
is_too_much = Greater (iou, iou_threshold)
is_overlapped = And (is_too_much, has_area)
overlap = Cast <to = 1> (is_overlapped)
suppresses = Trilu <upper = 1> (overlap, one)

is_candidate = Greater (best, gone)
candidate = Cast <to = 1> (is_candidate)
candidates = Reshape (candidate, line)
rounds = Gather <axis = 0> (count, zero)
stay = Loop <body = one_round (int64 number, bool going, float[R, K] before) => (bool goes_on, float[R, K] after) {
    overlaps = MatMul (before, suppresses)
    is_free = Less (overlaps, half)
    free = Cast <to = 1> (is_free)
    after = Mul (free, candidates)
    difference = Sub (after, before)
    change = Abs (difference)
    changes = ReduceMax <keepdims = 0> (change)
    goes_on = Greater (changes, half)
}> (rounds, yes, candidates)

stays = Reshape (stay, vector)
numbers = Range (zero, rounds, one)
backwards = Sub (rounds, numbers)
weights = Cast <to = 1> (backwards)
order = Mul (stays, weights)
row_count = Min (count, rows)
top, top_places = TopK <axis = 0, largest = 1, sorted = 1> (order, row_count)
is_row = Greater (top, half)
row_places = Gather <axis = 0> (places, top_places)
kept = Where (is_row, row_places, all_count)
""",
    # Each of P x P bins is the mean of S x S samples, bilinear; those more than a cell beside the features are 0.
    "RoiAlign": """(features, boxes) => (aligned)
zero = Constant <value = int64 {0}> ()
one = Constant <value = int64 {1}> ()
two = Constant <value = int64 {2}> ()
three = Constant <value = int64 {3}> ()
column = Constant <value = int64[2] {-1, 1}> ()
scale = Constant <value = float {$scale}> ()
least = Constant <value = float {1.0}> ()
twice = Constant <value = float {2.0}> ()
before = Constant <value = float {-1.0}> ()
nothing = Constant <value = float {0.0}> ()
shares_x = Constant <value = float[1, $samples_x] {$shares_x}> ()
shares_y = Constant <value = float[1, $samples_y] {$shares_y}> ()
lines = Constant <value = int64[4] {-1, 1, $samples_x, 1}> ()
columns = Constant <value = int64[4] {-1, $samples_y, 1, 1}> ()
grid_sides = Constant <value = int64[4] {1, -1, $samples_x, 2}> ()
map_sides = Constant <value = int64[4] {1, 1, -1, $samples_x}> ()
bin_sides = Constant <value = int64[4] {0, -1, $bins_y, $bins_x}> ()
batch = Constant <value = int64[1] {0}> ()

shape = Shape (features)
height_cells = Gather <axis = 0> (shape, two)
width_cells = Gather <axis = 0> (shape, three)
height = Cast <to = 1> (height_cells)
width = Cast <to = 1> (width_cells)
scaled = Mul (boxes, scale)
left = Gather <axis = 1> (scaled, zero)
top = Gather <axis = 1> (scaled, one)
right = Gather <axis = 1> (scaled, two)
bottom = Gather <axis = 1> (scaled, three)
across = Sub (right, left)
down = Sub (bottom, top)
side_x = Max (across, least)
side_y = Max (down, least)
left_column = Reshape (left, column)
top_column = Reshape (top, column)
side_x_column = Reshape (side_x, column)
side_y_column = Reshape (side_y, column)
steps_x = Mul (side_x_column, shares_x)
steps_y = Mul (side_y_column, shares_y)
at_x = Add (left_column, steps_x)
at_y = Add (top_column, steps_y)

is_right_of_first = GreaterOrEqual (at_x, before)
is_left_of_last = LessOrEqual (at_x, width)
is_inside_x = And (is_right_of_first, is_left_of_last)
inside_x = Cast <to = 1> (is_inside_x)
is_below_first = GreaterOrEqual (at_y, before)
is_above_last = LessOrEqual (at_y, height)
is_inside_y = And (is_below_first, is_above_last)
inside_y = Cast <to = 1> (is_inside_y)
inside_line = Reshape (inside_x, lines)
inside_column = Reshape (inside_y, columns)
inside_pairs = Mul (inside_line, inside_column)
inside = Reshape (inside_pairs, map_sides)

double_x = Mul (at_x, twice)
odd_x = Add (double_x, least)
share_x = Div (odd_x, width)
grid_x = Sub (share_x, least)
double_y = Mul (at_y, twice)
odd_y = Add (double_y, least)
share_y = Div (odd_y, height)
grid_y = Sub (share_y, least)
grid_line = Reshape (grid_x, lines)
grid_column = Reshape (grid_y, columns)
no_line = Mul (grid_line, nothing)
no_column = Mul (grid_column, nothing)
grid_x_pairs = Add (grid_line, no_column)
grid_y_pairs = Add (grid_column, no_line)
grid_pairs = Concat <axis = 3> (grid_x_pairs, grid_y_pairs)
grid = Reshape (grid_pairs, grid_sides)
anywhere = GridSample <align_corners = 0, padding_mode = "border"> (features, grid)
samples = Mul (anywhere, inside)
means = AveragePool <kernel_shape = [$ratio, $ratio], strides = [$ratio, $ratio]> (samples)
of_one_image = Squeeze (means, batch)
bins = Reshape (of_one_image, bin_sides)
aligned = Transpose <perm = [1, 0, 2, 3]> (bins)
""",
}


def function(name: str, opset: int, **values: object) -> onnx.FunctionProto:
    """One of them, named as it is called.

    Args:
        opset: of the standard operators in the model.
        values: `rows` of TableSuppression; `bins_x`, `bins_y`, `samples_x`, `samples_y`, `ratio` and `scale` of
            RoiAlign.
    """
    shares = {side: _shares(int(str(values[side]))) for side in ("samples_x", "samples_y") if side in values}
    known = {"lowest": _LOWEST, "largest_table": LARGEST_TABLE, **values}
    known |= {side.replace("samples", "shares"): listed for side, listed in shares.items()}
    text = Template(_TEXTS[name]).substitute(known)
    arrow = text.index("\n")
    header = f'<opset_import: ["" : {opset}], domain: "{DOMAIN}">'
    return parser.parse_function(f"{header} {name} {text[:arrow]} {{{text[arrow:]}}}")


def _shares(samples: int) -> str:
    """Of a box's side, where samples lie."""
    return ", ".join(str((place + 0.5) / samples) for place in range(samples))
