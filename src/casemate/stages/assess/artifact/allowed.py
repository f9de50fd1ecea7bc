"""What a pickled model may name: scikit-learn's estimators and their parts, NumPy's arrays, exactly
these.
"""

from functools import cache

from casemate.ml.storable import ALLOWED_TYPES

PLUMBING = frozenset(
    {
        "__builtin__.bytes",
        "_codecs.encode",
        "builtins.bytes",
        "builtins.object",
        "builtins.slice",
        "collections.OrderedDict",
        "collections.defaultdict",
        "copyreg._reconstructor",
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.numeric._frombuffer",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._mt19937.MT19937",
        "numpy.random._pcg64.PCG64",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random.bit_generator.SeedSequence",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.bool",
        "numpy.str_",
        "scipy.sparse._csr.csr_matrix",
        "scipy.sparse._csc.csc_matrix",
        "scipy.sparse._csr.csr_array",
        "sklearn.ensemble._gb_losses.BinomialDeviance",
        "sklearn.ensemble._hist_gradient_boosting.common.Y_DTYPE",
        "sklearn.neighbors._dist_metrics.newObj",
        "sklearn.metrics._dist_metrics.newObj",
        "sklearn.neighbors._kd_tree.newObj",
        "sklearn.neighbors._ball_tree.newObj",
        "sklearn._loss._loss.__pyx_unpickle_CyHalfBinomialLoss",
        "sklearn._loss._loss.__pyx_unpickle_CyHalfMultinomialLoss",
    }
)
"""What pickles of arrays and estimators are made of."""


@cache
def allowed_globals() -> frozenset[str]:
    """`module.name` of everything that a pickle may name."""
    from sklearn.utils import all_estimators

    estimators = {f"{kind.__module__}.{kind.__qualname__}" for _, kind in all_estimators()}
    return frozenset(estimators | (set(ALLOWED_TYPES) - {"functools.partial"}) | PLUMBING)
