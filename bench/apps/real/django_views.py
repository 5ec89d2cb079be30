"""Models, views and URLs: Django imports this module after its settings are made."""

from django.db import models, transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from real import kinds


class World(models.Model):
    id = models.IntegerField(primary_key=True)
    value = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "real", "world", False


class Fortune(models.Model):
    id = models.IntegerField(primary_key=True)
    message = models.TextField()

    class Meta:
        app_label, db_table, managed = "real", "fortune", False


class Account(models.Model):
    name = models.TextField(primary_key=True)
    password = models.TextField()

    class Meta:
        app_label, db_table, managed = "real", "account", False


def _as_dict(world):
    return {"id": world.id, "value": world.value}


def plaintext(request):
    return HttpResponse(b"Hello, world!", content_type="text/plain")


def json(request):
    return JsonResponse(kinds.MESSAGE)


def query(request):
    return JsonResponse(_as_dict(World.objects.get(id=kinds.random_ids(1)[0])))


def queries(request):
    found = [World.objects.get(id=key) for key in kinds.random_ids(kinds.MANY)]
    return JsonResponse([_as_dict(world) for world in found], safe=False)


def updates(request):
    with transaction.atomic():
        found = [World.objects.get(id=key) for key in kinds.random_ids(kinds.UPDATED)]
        for world in found:
            world.value = kinds.random_value()
        World.objects.bulk_update(found, ["value"])
    return JsonResponse([_as_dict(world) for world in found], safe=False)


def fortunes(request):
    found = [*Fortune.objects.all(), Fortune(id=0, message=kinds.ADDED_FORTUNE)]
    found.sort(key=lambda fortune: fortune.message)
    return render(request, "fortunes.html", {"fortunes": found})


def login(request):
    account = Account.objects.filter(name=request.POST["name"]).first()
    if not account or not kinds.is_password(request.POST["password"], account.password):
        return HttpResponse("wrong name or password", status=403)
    request.session["name"] = account.name
    found = redirect("/json")
    found.status_code = 303
    return found


def upload(request):
    sent = request.FILES["document"]
    return JsonResponse({"title": request.POST["title"], "size": len(sent.read())})


def report(request):
    return StreamingHttpResponse(kinds.report(), content_type="text/csv")


def service(request):
    return JsonResponse({"answer": kinds.call_service()})


def compute(request):
    kinds.compute()
    return JsonResponse({"done": True})


urlpatterns = [
    path(view.__name__, view)
    for view in (
        plaintext,
        json,
        query,
        queries,
        updates,
        fortunes,
        login,
        upload,
        report,
        service,
        compute,
    )
]
