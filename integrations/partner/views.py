"""GET /products/{id}/delivery-quote."""

from __future__ import annotations

import datetime as dt
import re

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from farmlokal.http.problems import InvalidParameter
from farmlokal.http.query_parameters import check_parameters
from farmlokal.observability.logs import show_parameters
from farmlokal.request_state import state_of
from integrations.partner import schema, serializers
from integrations.partner.client import partner_deadline
from integrations.partner.quotes import get_quote
from products import services
from products.serializers import rfc3339

PINCODE = re.compile(serializers.PINCODE)
PARAMETERS = ("pincode",)
show_parameters("/products/{pk}/delivery-quote", PARAMETERS)


class DeliveryQuoteView(APIView):
    @schema.delivery_quote
    def get(self, request: Request, pk: int) -> Response:
        ends = partner_deadline(state_of(request._request).arrived_at)
        check_parameters(request.query_params, PARAMETERS)
        pincode = request.query_params.get("pincode", "")
        if not PINCODE.fullmatch(pincode):
            raise InvalidParameter("pincode", schema.BAD_PINCODE)
        if not services.is_listed(pk):
            raise Http404
        quoted, is_stale = get_quote(pk, pincode, ends)
        document = {
            "product_id": pk,
            "pincode": pincode,
            **quoted.quote,
            "quoted_at": rfc3339(dt.datetime.fromtimestamp(quoted.quoted_at, dt.UTC)),
            "stale": is_stale,
        }
        return Response(document, headers={"Cache-Control": schema.CACHE_CONTROL})
