"""The URLs of the project."""

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("upload/", views.upload),
    path("download/<int:size>/", views.download),
    path("broken/", views.broken),
]
