"""POST /webhooks/partner."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from farmlokal.http.json_bodies import check_media_type, read_text
from farmlokal.http.problems import Problem, body_too_large
from farmlokal.http.query_parameters import check_parameters
from farmlokal.routes import MAX_WEBHOOK_BYTES
from integrations.webhooks import inbox, schema, signatures


class PartnerWebhookView(APIView):
    authentication_classes = ()  # the signature authenticates the sender

    @schema.receive_webhook
    def post(self, request: Request) -> Response:
        # farmlokal.edge has refused larger bodies already. This is for plain WSGI, before it reads the body.
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_WEBHOOK_BYTES:
            raise Problem("payload-too-large", body_too_large(MAX_WEBHOOK_BYTES))
        delivery = signatures.verified(request.headers, read_text(request))
        check_media_type(request)
        check_parameters(request.query_params, ())
        return Response({"status": inbox.receive(delivery)}, headers={"Cache-Control": schema.CACHE_CONTROL})
