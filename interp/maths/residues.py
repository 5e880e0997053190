"""Arithmetic on the residues of p: inverses, primes, discrete logarithms. Whole numbers only, in numpy."""

from math import gcd, isqrt

import numpy as np
from jaxtyping import Int


def inverses(p: int) -> Int[np.ndarray, " p"]:
    """Inverse z of every residue y, z·y = 1 mod p; 0 for residues without inverse (0, and those that share a factor with p)."""
    return np.array([pow(y, -1, p) if gcd(y, p) == 1 else 0 for y in range(p)])


def is_prime(n: int) -> bool:
    """Whether n has no divisor but 1 and itself."""
    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))


def next_prime(n: int) -> int:
    """The smallest prime above n."""
    return next(candidate for candidate in range(n + 1, 2 * n + 2) if is_prime(candidate))


def powers_of_generator(p: int) -> Int[np.ndarray, " p_minus_1"]:
    """Powers g⁰, g¹, …, g^(p−2) mod p of the smallest generator g, whose powers are all non-zero residues of the prime p."""
    for g in range(1, p):
        powers = [1]
        while (following := powers[-1] * g % p) != 1:
            powers.append(following)
        if len(powers) == p - 1:
            return np.array(powers)
    raise AssertionError(f"{p} is not prime")


def discrete_logarithms(p: int) -> Int[np.ndarray, " p"]:
    """Exponent e of every residue x = g^e of the prime p, 0 … p − 2, for the smallest generator g; −1 for 0, which has none."""
    found = np.full(p, -1)
    found[powers_of_generator(p)] = np.arange(p - 1)
    return found
