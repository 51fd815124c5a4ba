"""Alice trains a model that predicts which customers leave.   python alice.py [EXPERIMENT]"""

import hashlib
import sys

from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import runstone

experiment = sys.argv[1] if len(sys.argv) > 1 else "churn"
params = {"model": "LogisticRegression", "solver": "liblinear", "C": 0.1, "test_size": 0.25, "seed": 42}

X, y = make_classification(n_samples=1000, n_features=20, random_state=params["seed"])
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=params["test_size"], random_state=params["seed"])

with runstone.start_run(experiment=experiment, name="alice", params=params) as run:
    model = LogisticRegression(C=params["C"], solver=params["solver"], random_state=params["seed"])
    model.fit(X_train, y_train)

    accuracy = model.score(X_test, y_test)
    run.log({"accuracy": accuracy})
    run.set_tags({"predictions": hashlib.sha256(model.predict_proba(X).tobytes()).hexdigest()})
    run.log_model(model, "model")

print(f"alice: accuracy {accuracy} {run.url}")
