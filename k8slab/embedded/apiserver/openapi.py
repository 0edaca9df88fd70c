def answer(request, kinds):
    return None
