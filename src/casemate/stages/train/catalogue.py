"""What is known of scikit-learn's estimators; `docs/reference/estimators.md` is made of it, and a
test tries every one of them.
"""

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
_ONNX = """
ARDRegression AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor BayesianRidge
BernoulliNB Binarizer CalibratedClassifierCV CategoricalNB ColumnTransformer ComplementNB
DecisionTreeClassifier DecisionTreeRegressor ElasticNet FixedThresholdClassifier
TunedThresholdClassifierCV ElasticNetCV ExtraTreeClassifier ExtraTreeRegressor ExtraTreesClassifier
ExtraTreesRegressor FeatureUnion FrozenEstimator FunctionTransformer GammaRegressor GaussianNB
GaussianProcessRegressor GaussianRandomProjection GenericUnivariateSelect GradientBoostingClassifier
GradientBoostingRegressor GridSearchCV HalvingGridSearchCV HalvingRandomSearchCV
HistGradientBoostingClassifier HistGradientBoostingRegressor HuberRegressor IncrementalPCA
KNNImputer KNeighborsClassifier KNeighborsRegressor KernelPCA Lars LarsCV Lasso LassoCV LassoLars
LassoLarsCV LassoLarsIC LinearRegression LinearSVR LogisticRegression LogisticRegressionCV
MLPClassifier MLPRegressor MaxAbsScaler MinMaxScaler MultiOutputRegressor MultiTaskElasticNet
MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV MultinomialNB NeighborhoodComponentsAnalysis
Normalizer NuSVR OneHotEncoder OneVsRestClassifier OrdinalEncoder OrthogonalMatchingPursuit
OrthogonalMatchingPursuitCV PCA PLSRegression PassiveAggressiveRegressor Pipeline PoissonRegressor
PolynomialFeatures PowerTransformer QuadraticDiscriminantAnalysis QuantileRegressor
QuantileTransformer RANSACRegressor RadiusNeighborsClassifier RandomForestClassifier
RandomForestRegressor RandomizedSearchCV Ridge RidgeCV RobustScaler SGDClassifier SGDRegressor SVC
SVR SelectFdr SelectFpr SelectFromModel SelectFwe SelectKBest SelectPercentile
SequentialFeatureSelector SimpleImputer StackingClassifier StackingRegressor StandardScaler
TargetEncoder TfidfTransformer TheilSenRegressor TruncatedSVD TweedieRegressor VarianceThreshold
VotingClassifier VotingRegressor
"""
_OWN = """
AdditiveChi2Sampler BernoulliRBM BisectingKMeans CCA CountVectorizer DictionaryLearning
DummyClassifier DummyRegressor FactorAnalysis FastICA FeatureAgglomeration GaussianProcessClassifier
HashingVectorizer Isomap IsotonicRegression KBinsDiscretizer KMeans KNeighborsTransformer
KernelRidge LabelPropagation LabelSpreading LatentDirichletAllocation LinearDiscriminantAnalysis
LocallyLinearEmbedding MiniBatchDictionaryLearning MiniBatchKMeans MiniBatchNMF MiniBatchSparsePCA
MissingIndicator NMF NearestCentroid Nystroem PLSCanonical PolynomialCountSketch RBFSampler RFE
RFECV RadiusNeighborsRegressor RadiusNeighborsTransformer RandomTreesEmbedding
SelfTrainingClassifier SkewedChi2Sampler SparsePCA SparseRandomProjection SplineTransformer
TfidfVectorizer TransformedTargetRegressor
"""
FORMS = {**dict.fromkeys(_ONNX.split(), "onnx"), **dict.fromkeys(_OWN.split(), "scikit-learn")}
"""What serves the plainest model with such a part: an ONNX graph that answers alike, or
scikit-learn itself.
"""
INSTEAD = {
    "Birch": "its tree of clusters has no safe form; KMeans gives distances to clusters too",
    "ClassifierChain": "in it one label is a feature of the next; of several labels return the"
    " classifier inside, which is fitted once a label",
    "DictVectorizer": "it takes dictionaries, and a table has columns",
    "FeatureHasher": "it takes dictionaries or lists; HashingVectorizer takes text",
    "KernelCenterer": (
        "it takes a square matrix of a kernel; Nystroem approximates kernels from columns"
    ),
    "MultiOutputClassifier": "it is for several labels ([data] target = a list), and stands for"
    " the classifier inside of it",
    "PLSSVD": "it gives two tables; use PLSRegression",
    "PatchExtractor": "it takes pictures as arrays; give each pixel a column",
    "RegressorChain": (
        "its order of targets must be said; MultiOutputRegressor learns each quantity for itself"
    ),
    "SparseCoder": "it needs a dictionary of your own; DictionaryLearning learns one",
}
"""Refused wherever they stand, and what to use instead."""
_WITHOUT = """
LinearSVC NuSVC OneVsOneClassifier OutputCodeClassifier PassiveAggressiveClassifier Perceptron
RidgeClassifier RidgeClassifierCV
"""
ALONE = dict.fromkeys(
    _WITHOUT.split(), "it has no probabilities: wrap it in CalibratedClassifierCV"
)
"""Refused as what `build` returns; inside another estimator they are parts like every other."""
_TARGETS = """
LabelBinarizer LabelEncoder MultiLabelBinarizer
"""
_OTHERS = """
AffinityPropagation AgglomerativeClustering BayesianGaussianMixture ClassicalMDS DBSCAN
EllipticEnvelope EmpiricalCovariance GaussianMixture GraphicalLasso GraphicalLassoCV HDBSCAN
IsolationForest KernelDensity LedoitWolf LocalOutlierFactor MDS MeanShift MinCovDet NearestNeighbors
OAS OPTICS OneClassSVM SGDOneClassSVM ShrunkCovariance SpectralBiclustering SpectralClustering
SpectralCoclustering SpectralEmbedding TSNE
"""
NO_PART = {
    **dict.fromkeys(_TARGETS.split(), "it is for targets, which casemate encodes itself"),
    **dict.fromkeys(
        _OTHERS.split(),
        "it neither predicts a target nor gives new rows columns; KMeans, PCA, Isomap and"
        " Nystroem do",
    ),
}
"""They fit no pipeline that predicts."""
