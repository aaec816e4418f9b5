-- What a team writes down for itself when it closes an alert. Encrypted under the alert's own key, deleted with its content,
-- and never sent: a receipt has no room for it (PROTOCOL section 4).

alter table inbox add column note blob;
