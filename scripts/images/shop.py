"""A shop whose orders are rows of a database called db, for tests of two machines."""

import flask
import psycopg2

app = flask.Flask(__name__)


def rows(statement, *values):
    connection = psycopg2.connect(host="db", user="postgres", dbname="postgres", connect_timeout=5)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


rows("create table if not exists orders (item text)")


@app.route("/")
def orders():
    return {"orders": [item for (item,) in rows("select item from orders")]}


@app.route("/order/<item>")
def order(item):
    rows("insert into orders values (%s)", item)
    return {"ordered": item}
