"""Members: another table, UUID keys, a column name of its own."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    """Member is a user whose primary key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False, db_column="member_no")

    class Meta(AbstractUser.Meta):
        db_table = "club_member"
