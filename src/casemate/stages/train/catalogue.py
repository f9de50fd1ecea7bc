"""What is known of scikit-learn's estimators; `docs/reference/estimators.md` is made of it, and a test tries every one of them."""

USUAL = frozenset(
    {
        "ColumnTransformer",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        "LinearRegression",
        "LogisticRegression",
        "MinMaxScaler",
        "MultiOutputRegressor",
        "OneHotEncoder",
        "OrdinalEncoder",
        "Pipeline",
        "RandomForestClassifier",
        "RandomForestRegressor",
        "Ridge",
        "SimpleImputer",
        "StandardScaler",
        "NetworkClassifier",
    }
)
"""Parts whose fitted form is known: they need no trial."""
INSTEAD = {
    "Birch": "its tree of clusters has no safe form; KMeans gives distances to clusters too",
}
"""Estimators that are refused, and why, and what to use instead."""
