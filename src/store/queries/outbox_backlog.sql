-- A page of the rows of before. $1: after this one; $2: of transactions before this one, as text; $3: at most so many
SELECT id, tags FROM candlefish.cache_outbox WHERE id > $1 AND xid < $2::xid8 ORDER BY id LIMIT $3
