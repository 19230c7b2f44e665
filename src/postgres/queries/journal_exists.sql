-- Is there a journal?
SELECT to_regclass('candlefish.run') IS NOT NULL
