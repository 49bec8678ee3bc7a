from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("cutover", "0009_shadow_counts")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0010_imports_are_no_news.sql").read_text(),
            reverse_sql=(_SQL / "0010_imports_are_no_news_reverse.sql").read_text(),
        )
    ]
