"""What intrinsic rewards compute at every step, in loops that Numba compiles: as calls of PyTorch it takes longer."""

import numpy as np
from numpy.typing import NDArray

from modules.moments import compile_lazily

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@compile_lazily
def nearest(queries: Singles, states: Singles, rows: Ints, written: Ints, k: int) -> Singles:
    """Find the squared distances to the k nearest states, query i among those of row `rows[i]`.

    Differences, not |a|² − 2ab + |b|², which loses small distances between large numbers. All distances of a query
    come first, by vector instructions; then the smallest are kept in order.

    Args:
        queries: [n, F].
        states: rings of the last C states, [N, C, F].
        rows: [n].
        written: states that each ring got, [N].
        k: ≤ C.

    Returns:
        [n, k] in ascending order; infinite where there are fewer.
    """
    found = np.full((len(rows), k), np.inf, np.float32)
    distances = np.empty(states.shape[1], np.float32)
    for i in range(len(rows)):
        query, theirs, kept = queries[i], states[rows[i]], found[i]
        held = min(written[rows[i]], len(theirs))
        for place in range(held):
            total = np.float32(0)
            for f in range(len(query)):
                difference = theirs[place, f] - query[f]
                total += difference * difference
            distances[place] = total
        for place in range(held):
            distance = distances[place]
            if distance < kept[k - 1]:
                at = k - 1
                while at > 0 and kept[at - 1] > distance:
                    kept[at] = kept[at - 1]
                    at -= 1
                kept[at] = distance
    return found


@compile_lazily
def remember(new: Singles, states: Singles, rows: Ints, written: Ints) -> None:
    """Write each of `new` [n, F] into its row's ring, over the oldest state if it is full.

    The others are as in `nearest`; `states` and `written` are updated.
    """
    for i in range(len(rows)):
        row = rows[i]
        states[row, written[row] % states.shape[1]] = new[i]
        written[row] += 1


@compile_lazily
def rewards(
    neighbours: Singles, rows: Ints, mean: Doubles, seen: Ints, most: int, constants: tuple[float, float, float, float]
) -> Singles:
    """Take distances into their running means and reward: the second half of NGU's algorithm 1.

    Args:
        neighbours: squared distances, [n, k]; infinite where there are fewer than k.
        rows: environments that they are of, [n].
        mean: d²_m, [N]; is updated.
        seen: distances in that mean, [N]; is updated.
        most: as how many distances the mean counts when new ones come; what is older fades away beyond.
        constants: ε of the kernel, ξ, c and s_m.

    Returns:
        Rewards [N]; 0 for a row that is not among `rows` and for one without neighbours.
    """
    eps, cluster_distance, pseudo_counts, max_similarity = constants
    found = np.zeros(len(mean), np.float32)
    for i in range(len(rows)):
        row, count, change = rows[i], 0, 0.0
        for distance in neighbours[i]:
            if distance < np.inf:
                count += 1
                change += distance - mean[row]
        if count == 0:
            continue
        seen[row] = min(seen[row], most) + count
        mean[row] += change / seen[row]
        total = 0.0
        for distance in neighbours[i]:
            normalised = 1.0  # a missing neighbour lies at the mean distance
            if distance < np.inf:
                normalised = distance / mean[row] if mean[row] > 0 else 0.0
            total += eps / (max(normalised - cluster_distance, 0.0) + eps)
        similarity = np.sqrt(total) + pseudo_counts
        if similarity <= max_similarity:
            found[row] = 1 / similarity
    return found
