releases = {
  app = {
    owner              = "acme", owner_id = 1001, repository = "app", repository_id = 2002, ref = "refs/heads/main"
    workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
    ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
  }
}
cluster                  = { name = "proof", arn = "arn:aws:eks:eu-central-1:111122223333:cluster/proof" }
readable_repository_arns = ["arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"]
