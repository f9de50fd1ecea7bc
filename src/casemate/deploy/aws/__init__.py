"""Files for an account of AWS: who may do what there (`iam`), and what SageMaker is asked for
(`sagemaker`). The bytes of a model, its signature and its approvals decide what is rendered.
"""
