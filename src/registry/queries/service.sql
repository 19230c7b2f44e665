-- One service, every column. $1: bigint
SELECT * FROM services WHERE id = $1
