"""Requests of people about their data, by their verbs."""

from casemate.operations.acting import Noun
from casemate.operations.rights import certificates, fulfilment, requests, restricted


class RequestsOf(Noun):
    """The requests of a project, by their verbs."""

    begin = requests.begin
    list = requests.listing
    show = requests.show
    decide = requests.decide
    decide_model = requests.decide_model
    fulfil = fulfilment.fulfil
    fulfil_due = fulfilment.fulfil_due
    certificate = certificates.certificate
    restricted = restricted.restricted
