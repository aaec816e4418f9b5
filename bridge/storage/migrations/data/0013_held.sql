-- What is held for the operator is found by its code: an index on what is empty is passed over for another. Questions are
-- found by their alert.

drop index messages_held;
create index messages_held on messages (code, alert_id) where code = 'held';
drop index remarks_asked;
